"""Supervised vision transformers as data: sizes from Dosovitskiy et al. 2020 (arXiv:2010.11929, table 1), Touvron et al. 2020
(Ti, S; arXiv:2012.12877) and Zhai et al. 2021 ("Scaling vision transformers", arXiv:2106.04560, table 2: g, G).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import Self

from pipeline.errors import ConfigError
from training.specs.base import Activation, block_parameters
from training.specs.tower_spec import ImageSpec
from training.specs.towers import ImageTower, Triple

if TYPE_CHECKING:
    from training.models.classifier import Classifier

Pool = Literal["token", "mean", "attention"]

HALF: Triple = (0.5, 0.5, 0.5)
"""ViT's pixels go from -1 to 1 (the papers' released code)."""


@dataclass(frozen=True)
class VitSpec(ImageSpec):
    """A tower, how its tokens become one vector, and classes.

    `pool`: the class token, the mean of the patches, or one attention over them (Scaling ViT, section 3.2: "MAP").
    `representation` > 0 puts a layer of that width and tanh before the classes (arXiv:2010.11929, section 3.1). 0 `classes`: no
    head, as models are handed on that others fine-tune.
    """

    family: ClassVar[str] = "vit"
    image: ImageTower
    pool: Pool = "token"
    classes: int = 1000
    representation: int = 0
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        if self.image.class_token != (self.pool == "token"):
            raise ConfigError(
                f"{self.name}: pool {self.pool} and class_token {self.image.class_token} contradict each other"
            )

    def with_classes(self, classes: int) -> Self:
        return replace(self, classes=classes)

    def build(self) -> "Classifier":
        from training.models.classifier import Classifier

        return Classifier(self)

    def parameters(self) -> int:
        w = self.image.width
        # The attention pool is a block whose query is learned (w more) and that norms once, before its MLP (2 w less).
        pool = block_parameters(w, self.image.hidden) - w if self.pool == "attention" else 0
        features = self.representation or w
        return self.image.parameters() + pool + self.representation * (w + 1) + (features + 1) * self.classes

    def image_flops(self) -> int:
        w, h, t = self.image.width, self.image.hidden, self.image.tokens
        # Keys and values of all tokens, one query, one output; scores and mixture; one MLP.
        pool = 4 * t * w**2 + 4 * w**2 + 4 * t * w + 4 * w * h if self.pool == "attention" else 0
        features = self.representation or w
        return self.image.flops() + pool + 2 * self.representation * w + 2 * features * self.classes

    def sample_flops(self, text_tokens: int | None = None) -> int:
        return self.image_flops()

    def row(self) -> dict[str, Any]:
        return {"patch_pixels": self.image.patch, "image_tower": self.image.described(), "pool": self.pool}


# width, layers, heads, width of the MLP (0: four widths), pool
_SIZES: Mapping[str, tuple[int, int, int, int, Pool]] = {
    "ti": (192, 12, 3, 0, "token"),
    "s": (384, 12, 6, 0, "token"),
    "b": (768, 12, 12, 0, "token"),
    "l": (1024, 24, 16, 0, "token"),
    "h": (1280, 32, 16, 0, "token"),
    "g": (1408, 40, 16, 6144, "attention"),
    "G": (1664, 48, 16, 8192, "attention"),
}


def tower(size: int, patch: int, width: int, layers: int, heads: int, mlp: int = 0, token: bool = True) -> ImageTower:
    """With what sets ViT's tower apart from CLIP's: no norm before the blocks, a patch bias, epsilon 1e-6."""
    return ImageTower(
        size,
        patch,
        width,
        layers,
        heads,
        mlp=mlp,
        epsilon=1e-6,
        class_token=token,
        first_norm=False,
        patch_bias=True,
        pixel_mean=HALF,
        pixel_std=HALF,
    )


def _named(letter: str, patch: int, pool: Pool | None = None, represents: bool = False) -> VitSpec:
    width, layers, heads, mlp, usual = _SIZES[letter]
    # "giant" and "gigantic" differ in the case of one letter; names here are told apart without it.
    name = {"g": "giant", "G": "gigantic"}.get(letter, letter)
    suffix = {None: "", "token": "-token", "mean": "-gap", "attention": "-map"}[pool]
    pool = pool or usual
    image = tower(224, patch, width, layers, heads, mlp, pool == "token")
    return VitSpec(
        f"vit-{name}-{patch}{suffix}{'-rep' * represents}", image, pool, representation=width if represents else 0
    )


SPECS = (
    # Ours, for CPUs and pictures of 32 pixels; the stem is clip-tiny's.
    VitSpec(
        "vit-tiny-8",
        replace(tower(32, 8, 128, 3, 2), stem="convolutions"),
        classes=10,
    ),
    VitSpec(
        "vit-tiny-8-map", replace(tower(32, 8, 128, 3, 2, token=False), stem="convolutions"), "attention", classes=10
    ),
    *(_named(letter, patch) for letter in _SIZES for patch in (32, 16, 14)),
    # The plain recipe of "Better plain ViT baselines for ImageNet-1k" (Beyer et al. 2022, arXiv:2205.01580) takes the mean.
    *(_named(letter, 16, "mean") for letter in ("ti", "s", "b", "l")),
    *(_named(letter, 16, "attention") for letter in ("b", "l")),
    # With the layer before the classes that pre-training has and fine-tuning leaves out (arXiv:2010.11929, section 3.1).
    *(
        _named(letter, patch, represents=True)
        for letter, patch in (("b", 32), ("b", 16), ("l", 32), ("l", 16), ("h", 14))
    ),
)
