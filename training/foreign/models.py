"""Which of our families a Hugging Face model is, and what reads and writes it. Another family is one line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign import huggingface_clip, huggingface_igpt, huggingface_vit
from training.foreign.links import Link
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from training.saving.meanings import Meanings


@dataclass(frozen=True)
class HuggingFace:
    """`model_type` as config.json has it. `tensors_of_configs` gives what we keep as a tensor and they as configuration."""

    model_type: str
    read: Callable[[str, Mapping[str, Any], Mapping[str, Any]], tuple[ModelSpec, PixelForm]]
    links: Callable[[Any], list[Link]]
    refusal: Callable[[Any], str | None]
    configs: Callable[[Any, Mapping[str, "Tensor"], "Meanings"], dict[str, Any]]
    tensors_of_configs: Callable[[Mapping[str, Any]], dict[str, "Tensor"]] = lambda extra: {}
    classes: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda config: ()
    """Names of the classes, from config.json."""
    left_out: Callable[[Any], tuple[str, ...]] = lambda spec: ()
    """Tensors of ours that have no place there."""


HUGGINGFACE: Mapping[str, HuggingFace] = {
    "clip": HuggingFace(
        "clip", huggingface_clip.read, huggingface_clip.links, huggingface_clip.refusal, huggingface_clip.configs
    ),
    "vit": HuggingFace(
        "vit",
        huggingface_vit.read,
        huggingface_vit.links,
        huggingface_vit.refusal,
        huggingface_vit.configs,
        classes=huggingface_vit.classes,
        left_out=huggingface_vit.left_out,
    ),
    "igpt": HuggingFace(
        "imagegpt",
        huggingface_igpt.read,
        huggingface_igpt.links,
        huggingface_igpt.refusal,
        huggingface_igpt.configs,
        huggingface_igpt.tensors_of_configs,
    ),
}
"""By the name of our family."""


def read_huggingface(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[ModelSpec, PixelForm]:
    """By config.json's model_type. Raises DataError for one that is none of ours."""
    for each in HUGGINGFACE.values():
        if each.model_type == config.get("model_type"):
            return each.read(folder, config, extra)
    known = ", ".join(each.model_type for each in HUGGINGFACE.values())
    raise DataError(f"{folder}/config.json: model_type {config.get('model_type')!r} is not known here; {known} are")
