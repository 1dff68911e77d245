"""ModelSpec: a model as data, and the table of those that have a name.

Sizes of the named CLIP models: Radford et al. 2021 (arXiv:2103.00020), tables 19 and 20, and section 2.4.
Nothing here imports torch before `build` is called: counts and costs come from closed forms, which a test compares
with the real modules.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from training.models.clip import CLIP

Stem = Literal["patch", "convolutions"]
Activation = Literal["quick_gelu", "gelu"]

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
class ModelSpec:
    """What `build` needs to make a model, and what a checkpoint remembers of it."""

    name: str
    embedding: int
    image: ImageTower
    text: TextTower
    activation: Activation = "quick_gelu"
    family: str = "clip"

    def with_text(self, vocabulary: int, context: int) -> "ModelSpec":
        return replace(self, text=replace(self.text, vocabulary=vocabulary, context=context))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "ModelSpec":
        """Raises ConfigError when the value is the spec of a family this version does not have."""
        if value.get("family") != "clip":
            raise ConfigError(f"model family {value.get('family')!r} is unknown here; update openwit or choose another")
        rest = {key: item for key, item in value.items() if key not in ("image", "text")}
        return ModelSpec(image=ImageTower(**value["image"]), text=TextTower(**value["text"]), **rest)


_B_TEXT = TextTower(width=512, layers=12, heads=8)
_L_TEXT = TextTower(width=768, layers=12, heads=12)

_SPECS = (
    # Ours, for CPUs and a few thousand pairs: a convolution stem, and GELU, which is one fused kernel.
    ModelSpec(
        "clip-tiny",
        128,
        ImageTower(size=32, patch=8, width=128, layers=3, heads=2, stem="convolutions"),
        TextTower(width=128, layers=2, heads=2),
        activation="gelu",
    ),
    # Ours, for one small GPU: ViT-S/16 (Touvron et al. 2020, arXiv:2012.12877) with a text tower of the same width.
    ModelSpec(
        "clip-small",
        384,
        ImageTower(size=224, patch=16, width=384, layers=12, heads=6),
        TextTower(width=384, layers=12, heads=6),
        activation="gelu",
    ),
    ModelSpec("clip-vit-b-32", 512, ImageTower(224, 32, 768, 12, 12), _B_TEXT),
    ModelSpec("clip-vit-b-16", 512, ImageTower(224, 16, 768, 12, 12), _B_TEXT),
    ModelSpec("clip-vit-l-14", 768, ImageTower(224, 14, 1024, 24, 16), _L_TEXT),
    ModelSpec("clip-vit-l-14-336", 768, ImageTower(336, 14, 1024, 24, 16), _L_TEXT),
)

REGISTRY: Mapping[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def get_spec(name: str) -> ModelSpec:
    """The spec called `name`. Raises ConfigError where there is none."""
    if name not in REGISTRY:
        raise ConfigError(f"there is no model {name!r}; `openwit models` lists {', '.join(REGISTRY)}")
    return REGISTRY[name]


def build(spec: ModelSpec) -> "CLIP":
    """The model with fresh weights from torch's random state; `with torch.device("meta")` gives shapes alone."""
    from training.models.clip import CLIP

    return CLIP(spec)


def _block_parameters(width: int) -> int:
    """4 projections and a 4x MLP (12 w^2), their biases (9 w), two norms (4 w)."""
    return 12 * width * width + 13 * width


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


def image_parameters(spec: ModelSpec) -> int:
    tower = spec.image
    patches = sum(weights for weights, _ in _stem_layers(tower))
    rest = tower.width + tower.tokens * tower.width + 4 * tower.width  # class token, positions, two norms
    return patches + rest + tower.layers * _block_parameters(tower.width) + tower.width * spec.embedding


def text_parameters(spec: ModelSpec) -> int:
    tower = spec.text
    tables = (tower.vocabulary + tower.context) * tower.width
    return tables + tower.layers * _block_parameters(tower.width) + 2 * tower.width + tower.width * spec.embedding


def parameters(spec: ModelSpec) -> int:
    """Of the whole model, logit_scale included."""
    return image_parameters(spec) + text_parameters(spec) + 1


def _transformer_flops(width: int, layers: int, tokens: int) -> int:
    """2 per multiply-add: 12 w^2 per token in the projections, 2 t w per token in the attention."""
    return layers * (24 * tokens * width**2 + 4 * tokens**2 * width)


def image_flops(spec: ModelSpec) -> int:
    """Forward, per picture."""
    tower = spec.image
    patches = sum(flops for _, flops in _stem_layers(tower))
    return patches + _transformer_flops(tower.width, tower.layers, tower.tokens) + 2 * tower.width * spec.embedding


def text_flops(spec: ModelSpec, tokens: int | None = None) -> int:
    """Forward, per text of `tokens` tokens (the whole context when not given)."""
    tower = spec.text
    length = tower.context if tokens is None else tokens
    return _transformer_flops(tower.width, tower.layers, length) + 2 * tower.width * spec.embedding


def model_table() -> list[dict[str, Any]]:
    """A row per named model, for `openwit models`: sizes, parameters (millions), forward GFLOPs per picture and text."""
    return [
        {
            "model": spec.name,
            "family": spec.family,
            "image_pixels": spec.image.size,
            "patch_pixels": spec.image.patch,
            "image_tower": f"{spec.image.layers} x {spec.image.width} x {spec.image.heads}",
            "text_tower": f"{spec.text.layers} x {spec.text.width} x {spec.text.heads}",
            "embedding": spec.embedding,
            "image_parameters_millions": round(image_parameters(spec) / 1e6, 2),
            "parameters_millions": round(parameters(spec) / 1e6, 2),
            "image_gflops": round(image_flops(spec) / 1e9, 2),
            "text_gflops": round(text_flops(spec) / 1e9, 2),
        }
        for spec in REGISTRY.values()
    ]
