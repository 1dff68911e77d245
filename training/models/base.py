"""What models of all families have in common: they take uint8 pixels and give features of pictures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from training.specs.base import ModelSpec


class Model(nn.Module, ABC):
    """A model built from its spec."""

    spec: ModelSpec

    patch_dropout: float = 0.0
    """Share of each picture's patches that a training step leaves out; families without patches refuse any but 0."""

    @abstractmethod
    def reset_constants(self) -> None:
        """Make again what no checkpoint holds; to be called on a model that was built on the meta device."""

    def learned_by(self, objective: Mapping[str, Any]) -> None:  # most read pictures in one way only
        """Read pictures as that training did: `train.objective` of a checkpoint's config."""

    @abstractmethod
    def image_features(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, W) from uint8 pixels: what a linear probe reads."""
