"""The `evaluate.robustness` section of a recipe."""

from typing import Literal

from pydantic import Field

from evaluation.corruptions.constants import Setting
from pipeline.settings import Settings


class RobustnessConfig(Settings):
    """How pictures are altered."""

    constants: Setting | Literal["auto"] = "auto"
    """Table of strengths: imagenet-c (224 pixels; pictures are cut to that), tiny-imagenet-c (64), cifar-c (32); auto takes the
    one made for pictures of a dataset's size, by its first picture."""
    frost: str | None = None
    """Folder with the overlays of the frost corruption, such as ImageNet-C's six pictures; null draws our own."""
    occlusion_step: int = Field(10, ge=1, le=50)
    """Per cent of patches that the occlusion protocol takes away from one curve point to the next."""
