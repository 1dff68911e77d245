"""Which of our families a Hugging Face model is, and what reads and writes it. Another family is one line here."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign import huggingface_clip
from training.foreign.clip_names import huggingface_links
from training.foreign.links import Link
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec


def read_huggingface(folder: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[ModelSpec, PixelForm]:
    """By config.json's model_type. Raises DataError for one that is none of ours."""
    readers = {"clip": huggingface_clip.read}
    reader = readers.get(str(config.get("model_type")))
    if reader is None:
        raise DataError(
            f"{folder}/config.json: model_type {config.get('model_type')!r} is not known here; {', '.join(readers)} are"
        )
    return reader(folder, config, extra)


def huggingface_links_of(spec: ModelSpec) -> list[Link]:
    """The table of names of `spec`'s family."""
    assert isinstance(spec, ClipSpec)
    return huggingface_links(spec)
