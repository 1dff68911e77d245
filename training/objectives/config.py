"""ObjectiveConfig: the `train.objective` section of a recipe."""

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.settings import Settings

KINDS: Mapping[str, tuple[str, ...]] = {
    "clip": ("contrastive", "sigmoid"),
    "vit": ("classify",),
    "igpt": ("next_pixel", "masked_pixels", "joint"),
    "captioner": ("caption",),
    "words": ("words",),
}
"""What each family of models can learn; the first is what it learns when nothing is said."""
PAIRS = ("contrastive", "sigmoid")
"""Kinds that couple the samples of the global batch, whose chunks go through a gradient cache (training/step.py)."""
_FOUND = ("accuracy_image_to_text", "accuracy_text_to_image")
_PIXELS = ("nats_per_pixel", "bits_per_pixel")
METRICS: Mapping[str, tuple[str, ...]] = {
    "contrastive": _FOUND,
    "sigmoid": ("logit_bias", *_FOUND),
    "classify": ("accuracy",),
    "next_pixel": _PIXELS,
    "masked_pixels": _PIXELS,
    "joint": (*_PIXELS, "class_loss", "accuracy"),
    "caption": ("text_nats",),
    "words": ("likeliest_word_is_in_text",),
}
"""What a step of each kind measures beside its loss, by the names in steps.jsonl's `metrics`."""


def learned_masked(objective: Mapping[str, Any]) -> bool:
    """Whether an iGPT learned from masked pictures, every place looking at all others, by the `objective` of its training."""
    kind = objective.get("kind")
    return "masked_pixels" in (kind, objective.get("generative") if kind == "joint" else None)


class ObjectiveConfig(Settings):
    """What the model learns from a batch."""

    kind: str | None = None
    """The loss; nothing: the first that the model's family can do.

    clip: contrastive (each picture finds its text among all of the global batch, and each text its picture), sigmoid (each
    pair of a picture and a text is judged alone). vit: classify. igpt: next_pixel, masked_pixels, joint. captioner: caption
    (the text, token by token). words: words (which words the text has, in no order).
    """

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """classify: share of the target that all classes get evenly (arXiv:1512.00567: 0.1)."""
    mixup_alpha: float = Field(default=0.0, ge=0)
    """classify: mix neighbours of the batch by shares from Beta(this, this); 0 is off (arXiv:2106.10270: 0.2 or 0.5)."""
    independent_classes: bool = False
    """classify: a sigmoid per class in place of one softmax, for several labels per picture; biases start at -ln(classes).
    Under the softmax (classify, joint) a picture's k labels share its weight, 1/k each."""
    palette: str | None = None
    """igpt: a .npy or .json file of colours; nothing: k-means on the first 262,144 pixels that training sees."""
    mask_probability: float = Field(default=0.15, gt=0, lt=1)
    """masked_pixels: chance of each pixel to be hidden (iGPT, section 2.1: 0.15)."""
    generative: Literal["next_pixel", "masked_pixels"] = "next_pixel"
    """joint: the loss beside that of the classes; the one that the model was trained with before."""
    generative_weight: float = Field(default=1.0, ge=0)
    """joint: of the pixels' loss (iGPT, section 2.3: 1)."""

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str | None) -> str | None:
        known = [each for kinds in KINDS.values() for each in kinds]
        if kind is not None and kind not in known:
            near = difflib.get_close_matches(kind, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"there is no objective {kind!r}; {hint}there are {', '.join(known)}")
        return kind

    def kind_for(self, family: str) -> str:
        """The kind to train a model of `family` with. Raises ValueError when the family cannot learn the one asked for."""
        able = KINDS[family]
        if self.kind is None:
            return able[0]
        if self.kind not in able:
            raise ValueError(
                f"objective.kind is {self.kind} and the model is of family {family}, which learns {' or '.join(able)};"
                " change the one or the other"
            )
        return self.kind
