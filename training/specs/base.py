"""What every model family says of itself as data: a name, sizes, costs in closed form, and how it is built."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import Self

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from training.models.base import Model

Activation = Literal["quick_gelu", "gelu"]


@dataclass(frozen=True)
class ModelSpec(ABC):
    """What `build` needs to make a model, and what a checkpoint remembers of it."""

    family: ClassVar[str]
    name: str

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Side in pixels of the pictures that the model takes."""

    @abstractmethod
    def parameters(self) -> int:
        """Of the whole model, as built."""

    @abstractmethod
    def image_flops(self) -> int:
        """Forward, per picture; 2 per multiply-add."""

    @abstractmethod
    def sample_flops(self, text_tokens: int | None = None) -> int:
        """Forward, per training sample: the picture and, where the family reads one, a text of so many tokens."""

    @abstractmethod
    def row(self) -> dict[str, Any]:
        """The model's line in `openwit models`, beside name, family, parameters and GFLOPs."""

    def with_text(self, vocabulary: int, context: int) -> Self:
        """The same model for another tokenizer; families that read no text stay as they are."""
        return self

    def with_classes(self, classes: int) -> Self:
        """The same model with a head for so many classes; families without such a head stay as they are."""
        return self

    def with_image_size(self, pixels: int) -> Self:
        """The same model for pictures of another size. Raises ConfigError where the family or its patches cannot."""
        if pixels == self.image_size:
            return self
        raise ConfigError(f"{self.name} takes pictures of {self.image_size} pixels and no others; it has no positions")

    @abstractmethod
    def build(self) -> "Model":
        """The model with fresh weights from torch's random state."""

    @classmethod
    @abstractmethod
    def read(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_json` wrote, without its family."""

    def to_json(self) -> dict[str, Any]:
        return {"family": self.family, **asdict(self)}


def block_parameters(width: int, hidden: int = 0) -> int:
    """A pre-norm transformer block: 4 projections, an MLP of `hidden` (4 widths when 0), their biases, two norms."""
    hidden = hidden or 4 * width
    return 4 * width * (width + 1) + 2 * width * hidden + hidden + width + 4 * width


def transformer_flops(width: int, layers: int, tokens: int, hidden: int = 0) -> int:
    """2 per multiply-add: 4 w^2 + 2 w h per token in the projections, 2 t w per token in the attention."""
    hidden = hidden or 4 * width
    return layers * (tokens * (8 * width**2 + 4 * width * hidden) + 4 * tokens**2 * width)
