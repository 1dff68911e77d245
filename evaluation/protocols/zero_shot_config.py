"""The sections `evaluate.zero_shot` and `evaluate.retrieval` of a recipe."""

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class ZeroShotConfig(Settings):
    """How classes are put into words."""

    descriptions: dict[str, str] = Field(default_factory=dict)
    """Task -> JSON file of sentences per class by a language model: CuPL's {class: [sentence, ...]}, or the same below
    `classes` beside `generator` and `source`."""
    with_templates: bool = True
    """Average descriptions together with the task's templates, as CLIP_benchmark does; false takes the descriptions alone."""
    canonical_text: bool = False
    """Lower case, no punctuation, single spaces before the tokenizer, as SigLIP and LiT were trained (big_vision)."""
    temperature_pictures: int = Field(0, ge=0)
    """Fit a temperature on so many training pictures, which are then encoded too; 0 keeps the model's own logit scale."""


class RetrievalConfig(Settings):
    """How captions are asked for."""

    prefix: str = ""
    """Before each caption; the CLIP paper has 'a photo of ' (1 to 2 points of R@1), open_clip's table nothing."""
    equal_captions: Literal["one text", "separate"] = "one text"
    """One text: equal captions are one query and match all their pictures. Separate: each is a query of its own picture, as in
    published figures, and the copy of another picture counts as an error."""
