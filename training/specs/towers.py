"""Towers as data: vision transformers, CLIP's residual networks, text transformers, bags of words; costs in closed form.

FLOPs are 2 per multiply-add of products and convolutions; norms, activations and sums are not counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from pipeline.errors import ConfigError
from training.specs.base import block_parameters, transformer_flops

Stem = Literal["patch", "convolutions"]
Triple = tuple[float, float, float]

# Mean and deviation of CLIP's training pictures per channel, from OpenAI's clip/clip.py, on a scale of 0 to 1.
PIXEL_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD: Triple = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ImageTower:
    """A vision transformer (ViT) on square pictures of `size` pixels cut into squares of `patch` pixels.

    The defaults are CLIP's. A supervised ViT (arXiv:2010.11929) has a patch bias, no norm before the blocks and its own
    epsilon; one that pools by attention has no class token. `mlp` 0 is four times the width.
    """

    size: int
    patch: int
    width: int
    layers: int
    heads: int
    stem: Stem = "patch"
    mlp: int = 0
    epsilon: float = 1e-5
    class_token: bool = True
    first_norm: bool = True
    patch_bias: bool = False
    pixel_mean: Triple = PIXEL_MEAN
    pixel_std: Triple = PIXEL_STD
    kind: Literal["vit"] = "vit"

    def __post_init__(self) -> None:
        _divides(self.size, self.patch, f"patches of {self.patch} pixels do not divide pictures of {self.size}")
        _share_heads(self.width, self.heads)
        if self.stem == "convolutions" and self.patch & (self.patch - 1):
            raise ConfigError(
                f"a convolution stem halves the picture; patches of {self.patch} pixels are no power of two: use"
                f" {2 ** (self.patch.bit_length() - 1)}"
            )

    @property
    def hidden(self) -> int:
        """Width of the MLPs' inner layer."""
        return self.mlp or 4 * self.width

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.size // self.patch

    @property
    def tokens(self) -> int:
        """Patches, and the class token where there is one."""
        return self.grid**2 + self.class_token

    def tokens_without(self, share: float) -> int:
        """Those of a training step that leaves out this share of the patches."""
        return self.class_token + max(1, round(self.grid**2 * (1 - share)))

    @property
    def features(self) -> int:
        """Width of what the tower gives."""
        return self.width

    @property
    def activations(self) -> int:
        """Numbers between two layers, per picture, where there are most."""
        return self.tokens * self.width

    def parameters(self) -> int:
        stem = sum(weights for weights, _ in _stem_layers(self)) + self.patch_bias * self.width
        norms = 2 * self.width * (1 + self.first_norm)
        tables = (self.class_token + self.tokens) * self.width
        return stem + tables + norms + self.layers * block_parameters(self.width, self.hidden)

    def flops(self) -> int:
        stem = sum(flops for _, flops in _stem_layers(self))
        return stem + transformer_flops(self.width, self.layers, self.tokens, self.hidden)

    def described(self) -> str:
        return f"{self.layers} x {self.width} x {self.heads}"


@dataclass(frozen=True)
class ResNetTower:
    """CLIP's residual network (arXiv:2103.00020, section 2.4): a stem of three convolutions, stages of `blocks` bottlenecks
    that end 4, 8, 16 ... times `width` channels wide, strides by averages, attention in place of the last average."""

    size: int
    blocks: tuple[int, ...]
    width: int
    pixel_mean: Triple = PIXEL_MEAN
    pixel_std: Triple = PIXEL_STD
    kind: Literal["resnet"] = "resnet"

    def __post_init__(self) -> None:
        _divides(
            self.size, self.patch, f"this residual network halves its pictures to 1/{self.patch}: {self.size} pixels"
        )
        _share_heads(self.features, self.heads)

    @property
    def patch(self) -> int:
        """Pixels per place of the last grid, along a side: the stem makes 4, each stage but the first doubles."""
        return 4 << (len(self.blocks) - 1)

    @property
    def grid(self) -> int:
        return self.size // self.patch

    @property
    def features(self) -> int:
        """Channels of the last stage: 32 widths with four stages."""
        return self.width * 4 << (len(self.blocks) - 1)

    @property
    def activations(self) -> int:
        """Numbers between two layers, per picture, where there are most: behind the first stage."""
        return (self.size // 4) ** 2 * 4 * self.width

    @property
    def heads(self) -> int:
        """Of the attention pool: 64 channels each."""
        return max(1, self.features // 64)

    @property
    def tokens(self) -> int:
        """Places of the last grid and their mean, which asks."""
        return self.grid**2 + 1

    def parameters(self) -> int:
        """Convolutions, two numbers per channel of a batch norm, positions, queries, keys and values."""
        convolutions = sum(side * before * after + 2 * after for side, before, after, _ in self.convolutions())
        pool = self.tokens * self.features + 3 * (self.features**2 + self.features)
        return convolutions + pool

    def flops(self) -> int:
        places = sum(2 * side * before * after * area**2 for side, before, after, area in self.convolutions())
        asked = 2 * self.features**2 * (1 + 2 * self.tokens) + 4 * self.tokens * self.features
        return places + asked

    def described(self) -> str:
        return f"{'-'.join(map(str, self.blocks))} x {self.width}"

    def convolutions(self) -> list[tuple[int, int, int, int]]:
        """(places of the kernel, channels in, channels out, side of the result), each followed by a batch norm."""
        half, area = self.width // 2, self.size // 2
        found = [(9, 3, half, area), (9, half, half, area), (9, half, self.width, area)]
        area, before = area // 2, self.width
        for stage, blocks in enumerate(self.blocks):
            inner = self.width << stage
            for block in range(blocks):
                after = area // 2 if stage and not block else area
                found += [(1, before, inner, area), (9, inner, inner, area), (1, inner, 4 * inner, after)]
                if not block:
                    found.append((1, before, 4 * inner, after))
                area, before = after, 4 * inner
        return found


@dataclass(frozen=True)
class TextTower:
    """A causal transformer over at most `context` tokens. `mlp` 0 is four times the width."""

    width: int
    layers: int
    heads: int
    context: int = 77
    vocabulary: int = 49_408
    mlp: int = 0
    epsilon: float = 1e-5
    kind: Literal["transformer"] = "transformer"

    def __post_init__(self) -> None:
        _share_heads(self.width, self.heads)

    @property
    def hidden(self) -> int:
        return self.mlp or 4 * self.width

    def parameters(self) -> int:
        tables = (self.vocabulary + self.context) * self.width
        return tables + self.layers * block_parameters(self.width, self.hidden) + 2 * self.width

    def flops(self, tokens: int) -> int:
        return transformer_flops(self.width, self.layers, tokens, self.hidden)

    def described(self) -> str:
        return f"{self.layers} x {self.width} x {self.heads}"


@dataclass(frozen=True)
class WordsTower:
    """A bag of words: the mean of the words' embeddings (the CBOW text encoder of arXiv:2103.00020, section 2.3)."""

    width: int
    context: int = 77
    vocabulary: int = 49_408
    kind: Literal["words"] = "words"

    def parameters(self) -> int:
        return self.vocabulary * self.width

    def flops(self, tokens: int) -> int:
        """None: rows are looked up and added."""
        return 0

    def described(self) -> str:
        return f"words x {self.width}"


AnyImageTower = ImageTower | ResNetTower
AnyTextTower = TextTower | WordsTower
_KINDS: Mapping[str, type[Any]] = {
    "vit": ImageTower,
    "resnet": ResNetTower,
    "transformer": TextTower,
    "words": WordsTower,
}


def read_tower(value: Mapping[str, Any]) -> Any:
    """A tower from its JSON. Raises ConfigError for a kind or key that this version does not have."""
    kind = _KINDS.get(str(value.get("kind", "vit" if "patch" in value else "transformer")))
    if kind is None or not set(value) <= {field.name for field in fields(kind)}:
        raise ConfigError(f"tower {dict(value)} is not known here; update openwit or choose another model")
    return kind(**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})


def _stem_layers(tower: ImageTower) -> list[tuple[int, int]]:
    """(parameters, FLOPs per picture) of the convolutions that make patches, norms counted with them."""
    if tower.stem == "patch":
        weights = 3 * tower.patch**2 * tower.width
        return [(weights, 2 * tower.grid**2 * weights)]
    layers, before, side = [], 3, tower.size
    halvings = tower.patch.bit_length() - 1
    for step in range(halvings):
        after, side = tower.width >> (halvings - 1 - step), side // 2
        layers.append((9 * before * after + 2 * after, 2 * 9 * before * after * side**2))
        before = after
    return [*layers, (tower.width**2, 2 * tower.grid**2 * tower.width**2)]


def _divides(size: int, part: int, what: str) -> None:
    if size < part or size % part:
        low = max(part, size - size % part)
        raise ConfigError(f"{what}; use {low} or {low + part}")


def _share_heads(width: int, heads: int) -> None:
    if width % heads:
        raise ConfigError(f"a width of {width} cannot be shared by {heads} heads; choose a number that divides it")
