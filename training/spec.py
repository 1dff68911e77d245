"""The table of models that have a name, over all families (training/specs).

Nothing here imports torch before a model is built: counts and costs come from closed forms, which a test compares with
the real modules.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from training.specs import captioner, clip, igpt, vit, words
from training.specs.base import ModelSpec
from training.specs.captioner import CaptionerSpec
from training.specs.clip import ClipSpec
from training.specs.igpt import IgptSpec
from training.specs.vit import VitSpec
from training.specs.words import WordsSpec

if TYPE_CHECKING:
    from training.models.base import Model

_FAMILIES = (ClipSpec, VitSpec, IgptSpec, CaptionerSpec, WordsSpec)
FAMILIES: Mapping[str, type[ModelSpec]] = {family.family: family for family in _FAMILIES}
REGISTRY: Mapping[str, ModelSpec] = {
    spec.name: spec for family in (clip, vit, igpt, captioner, words) for spec in family.SPECS
}


def get_spec(name: str) -> ModelSpec:
    """The spec called `name`. Raises ConfigError where there is none."""
    if name not in REGISTRY:
        raise ConfigError(f"there is no model {name!r}; `openwit models` lists {', '.join(REGISTRY)}")
    return REGISTRY[name]


def build(spec: ModelSpec) -> "Model":
    """The model with fresh weights from torch's random state; `with shapes_alone()` gives shapes (training/models/shapes.py)."""
    return spec.build()


def read_spec(value: Mapping[str, Any]) -> ModelSpec:
    """The inverse of `to_json`. Raises ConfigError for a family that this version does not have."""
    family = FAMILIES.get(str(value.get("family")))
    if family is None:
        raise ConfigError(f"model family {value.get('family')!r} is unknown here; update openwit or choose another")
    return family.read({key: item for key, item in value.items() if key != "family"})


def model_table() -> list[dict[str, Any]]:
    """A row per named model, for `openwit models`: sizes, parameters (millions), forward GFLOPs per picture."""
    return [
        {
            "model": spec.name,
            "family": spec.family,
            "image_pixels": spec.image_size,
            "parameters_millions": round(spec.parameters() / 1e6, 2),
            "image_gflops": round(spec.image_flops() / 1e9, 2),
            **spec.row(),
        }
        for spec in REGISTRY.values()
    ]
