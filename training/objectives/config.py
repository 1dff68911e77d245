"""ObjectiveConfig: the `train.objective` section of a recipe."""

from typing import Literal

from pipeline.settings import Settings


class ObjectiveConfig(Settings):
    """What the model learns from a batch."""

    kind: Literal["contrastive"] = "contrastive"
    """contrastive: each picture finds its text among all of the global batch, and each text its picture."""
