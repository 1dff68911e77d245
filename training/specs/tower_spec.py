"""What families with an image tower, and with a text one beside it, have in common as data."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from typing_extensions import Self

from training.specs.base import ModelSpec
from training.specs.towers import read_tower


class ImageSpec(ModelSpec, ABC):
    """Its subclasses are dataclasses with a tower in the field `image`."""

    image: Any

    @property
    def image_size(self) -> int:
        size: int = self.image.size
        return size

    def with_image_size(self, pixels: int) -> Self:
        """Weights go over by `training.models.adapt.adapted`."""
        return replace(self, image=replace(self.image, size=pixels))  # type: ignore[call-arg]  # every subclass has it

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Self:
        """Towers are the mappings among the values."""
        return cls(**{key: read_tower(item) if isinstance(item, Mapping) else item for key, item in value.items()})


class PairSpec(ImageSpec, ABC):
    """And a tower for texts in the field `text`."""

    text: Any

    def with_text(self, vocabulary: int, context: int) -> Self:
        text = replace(self.text, vocabulary=vocabulary, context=context)
        return replace(self, text=text)  # type: ignore[call-arg]  # every subclass has it
