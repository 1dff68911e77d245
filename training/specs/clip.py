"""CLIP as data. Sizes of the named models: Radford et al. 2021 (arXiv:2103.00020), tables 19 and 20, and section 2.4."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from training.specs.base import Activation, ModelSpec, block_parameters, transformer_flops

if TYPE_CHECKING:
    from training.models.clip import CLIP

Stem = Literal["patch", "convolutions"]

# Mean and deviation of CLIP's training pictures per channel, from OpenAI's clip/clip.py, on a scale of 0 to 1.
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ImageTower:
    """A vision transformer (ViT) on square pictures of `size` pixels cut into squares of `patch` pixels."""

    size: int
    patch: int
    width: int
    layers: int
    heads: int
    stem: Stem = "patch"

    @property
    def tokens(self) -> int:
        """Patches + the class token."""
        return (self.size // self.patch) ** 2 + 1


@dataclass(frozen=True)
class TextTower:
    """A causal transformer over at most `context` tokens."""

    width: int
    layers: int
    heads: int
    context: int = 77
    vocabulary: int = 49_408


@dataclass(frozen=True)
class ClipSpec(ModelSpec):
    """Two towers and the width of the space they share."""

    family: ClassVar[str] = "clip"
    embedding: int
    image: ImageTower
    text: TextTower
    activation: Activation = "quick_gelu"

    @property
    def image_size(self) -> int:
        return self.image.size

    def with_text(self, vocabulary: int, context: int) -> Self:
        return replace(self, text=replace(self.text, vocabulary=vocabulary, context=context))

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Self:
        rest = {key: item for key, item in value.items() if key not in ("image", "text")}
        return cls(image=ImageTower(**value["image"]), text=TextTower(**value["text"]), **rest)

    def build(self) -> "CLIP":
        from training.models.clip import CLIP

        return CLIP(self)

    def parameters(self) -> int:
        """logit_scale included."""
        return self.image_parameters() + self.text_parameters() + 1

    def image_parameters(self) -> int:
        tower = self.image
        patches = sum(weights for weights, _ in _stem_layers(tower))
        rest = tower.width + tower.tokens * tower.width + 4 * tower.width  # class token, positions, two norms
        return patches + rest + tower.layers * block_parameters(tower.width) + tower.width * self.embedding

    def text_parameters(self) -> int:
        tower = self.text
        tables = (tower.vocabulary + tower.context) * tower.width
        return tables + tower.layers * block_parameters(tower.width) + 2 * tower.width + tower.width * self.embedding

    def image_flops(self) -> int:
        tower = self.image
        patches = sum(flops for _, flops in _stem_layers(tower))
        return patches + transformer_flops(tower.width, tower.layers, tower.tokens) + 2 * tower.width * self.embedding

    def text_flops(self, tokens: int | None = None) -> int:
        """Forward, per text of `tokens` tokens (the whole context when not given)."""
        tower = self.text
        length = tower.context if tokens is None else tokens
        return transformer_flops(tower.width, tower.layers, length) + 2 * tower.width * self.embedding

    def sample_flops(self, text_tokens: int | None = None) -> int:
        return self.image_flops() + self.text_flops(text_tokens)

    def row(self) -> dict[str, Any]:
        return {
            "patch_pixels": self.image.patch,
            "image_tower": f"{self.image.layers} x {self.image.width} x {self.image.heads}",
            "text_tower": f"{self.text.layers} x {self.text.width} x {self.text.heads}",
            "embedding": self.embedding,
            "image_parameters_millions": round(self.image_parameters() / 1e6, 2),
            "text_gflops": round(self.text_flops() / 1e9, 2),
        }


def _stem_layers(tower: ImageTower) -> list[tuple[int, int]]:
    """(parameters, FLOPs per picture) of the convolutions that make patches, norms counted with them."""
    if tower.stem == "patch":
        weights = 3 * tower.patch**2 * tower.width
        return [(weights, 2 * (tower.tokens - 1) * weights)]
    layers, before, side = [], 3, tower.size
    halvings = tower.patch.bit_length() - 1
    for step in range(halvings):
        after, side = tower.width >> (halvings - 1 - step), side // 2
        layers.append((9 * before * after + 2 * after, 2 * 9 * before * after * side**2))
        before = after
    return [*layers, (tower.width**2, 2 * (tower.tokens - 1) * tower.width**2)]


_B_TEXT = TextTower(width=512, layers=12, heads=8)
_L_TEXT = TextTower(width=768, layers=12, heads=12)

SPECS = (
    # Ours, for CPUs and a few thousand pairs: a convolution stem, and GELU, which is one fused kernel.
    ClipSpec(
        "clip-tiny",
        128,
        ImageTower(size=32, patch=8, width=128, layers=3, heads=2, stem="convolutions"),
        TextTower(width=128, layers=2, heads=2),
        activation="gelu",
    ),
    # Ours, for one small GPU: ViT-S/16 (Touvron et al. 2020, arXiv:2012.12877) with a text tower of the same width.
    ClipSpec(
        "clip-small",
        384,
        ImageTower(size=224, patch=16, width=384, layers=12, heads=6),
        TextTower(width=384, layers=12, heads=6),
        activation="gelu",
    ),
    ClipSpec("clip-vit-b-32", 512, ImageTower(224, 32, 768, 12, 12), _B_TEXT),
    ClipSpec("clip-vit-b-16", 512, ImageTower(224, 16, 768, 12, 12), _B_TEXT),
    ClipSpec("clip-vit-l-14", 768, ImageTower(224, 14, 1024, 24, 16), _L_TEXT),
    ClipSpec("clip-vit-l-14-336", 768, ImageTower(336, 14, 1024, 24, 16), _L_TEXT),
)
