"""What models with one image tower in `visual` have in common."""

from pipeline.errors import ConfigError
from training.models.base import Model
from training.models.image_encoder import ImageEncoder
from training.specs.towers import ResNetTower


class TowerModel(Model):
    """A model whose pictures go through `visual`."""

    visual: ImageEncoder

    def reset_constants(self) -> None:
        self.visual.reset_pixel_statistics()

    @property
    def patch_dropout(self) -> float:
        """Share of patches that a training step leaves out."""
        return self.visual.patch_dropout

    @patch_dropout.setter
    def patch_dropout(self, share: float) -> None:
        if share and isinstance(self.visual.tower, ResNetTower):
            raise ConfigError(
                f"patch_dropout is {share:g}, and {self.spec.name} has no patches to leave out; set it to 0"
            )
        self.visual.patch_dropout = share
