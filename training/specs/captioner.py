"""Captioner as data: an image tower and a transformer that writes the text (the first curve of Radford et al. 2021,
arXiv:2103.00020, figure 2; VirTex, Desai and Johnson 2020, arXiv:2006.06666)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from training.specs.base import Activation
from training.specs.tower_spec import PairSpec
from training.specs.towers import AnyImageTower, ImageTower, ResNetTower, TextTower

if TYPE_CHECKING:
    from training.models.captioner import Captioner


@dataclass(frozen=True)
class CaptionerSpec(PairSpec):
    """`text` is the writer: a causal transformer with a look at the picture's places in each block."""

    family: ClassVar[str] = "captioner"
    image: AnyImageTower
    text: TextTower
    activation: Activation = "quick_gelu"

    def build(self) -> "Captioner":
        from training.models.captioner import Captioner

        return Captioner(self)

    def parameters(self) -> int:
        """Beside the towers': the picture's projection with its bias, per block a look (four projections with biases and a
        norm), and the table of answers."""
        text = self.text
        looks = text.layers * (4 * text.width * (text.width + 1) + 2 * text.width)
        projection = (self.image.features + 1) * text.width
        return self.image.parameters() + text.parameters() + projection + looks + text.width * text.vocabulary

    def image_flops(self) -> int:
        """Keys and values of the looks are counted with the picture: they are made once, whatever is written."""
        text, places = self.text, self.image.grid**2
        return (
            self.image.flops()
            + 2 * places * text.width * self.image.features
            + text.layers * 4 * places * text.width**2
        )

    def text_flops(self, tokens: int | None = None) -> int:
        """Forward, per text of `tokens` tokens (the whole context when not given)."""
        text, places = self.text, self.image.grid**2
        length = (text.context if tokens is None else tokens) - 1  # nothing follows the end
        looks = text.layers * (4 * length * text.width**2 + 4 * length * places * text.width)
        return text.flops(length) + looks + 2 * length * text.width * text.vocabulary

    def sample_flops(self, text_tokens: int | None = None) -> int:
        return self.image_flops() + self.text_flops(text_tokens)

    def row(self) -> dict[str, Any]:
        return {
            "patch_pixels": self.image.patch,
            "image_tower": self.image.described(),
            "text_tower": self.text.described(),
            "text_gflops": round(self.text_flops() / 1e9, 2),
        }


SPECS = (
    # Beside clip-tiny and clip-rn50, whose image towers they have; figure 2's transformer has 63 million parameters, tables
    # included, as CLIP's text transformer has.
    CaptionerSpec(
        "captioner-tiny",
        ImageTower(size=32, patch=8, width=128, layers=3, heads=2, stem="convolutions"),
        TextTower(width=128, layers=2, heads=2),
        activation="gelu",
    ),
    CaptionerSpec("captioner-rn50", ResNetTower(224, (3, 4, 6, 3), 64), TextTower(512, 12, 8)),
)
