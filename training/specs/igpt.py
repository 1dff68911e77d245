"""iGPT as data (Chen et al. 2020, "Generative pretraining from pixels", section 3.1; what the paper leaves open: the released
image-gpt code). A picture is the sequence of its pixels, row by row, each one of `colours` of a palette.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from pipeline.errors import ConfigError
from training.specs.base import ModelSpec, transformer_flops

if TYPE_CHECKING:
    from training.models.igpt import IGPT


@dataclass(frozen=True)
class IgptSpec(ModelSpec):
    """A GPT-2 with norms first over `size` x `size` pixels; `classes` > 0 adds the head for fine-tuning."""

    family: ClassVar[str] = "igpt"
    size: int
    width: int
    layers: int
    heads: int
    colours: int = 512
    classes: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"{self.name}: a width of {self.width} cannot be shared by {self.heads} heads")

    @property
    def image_size(self) -> int:
        return self.size

    @property
    def tokens(self) -> int:
        """Pixels of a picture; the start vector takes the place that the last pixel leaves."""
        return self.size**2

    def with_classes(self, classes: int) -> Self:
        return replace(self, classes=classes)

    def with_image_size(self, pixels: int) -> Self:
        """The same model on another raster. Its positions cannot be carried over: they are places of a sequence."""
        return replace(self, size=pixels)

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Self:
        return cls(**value)

    def build(self) -> "IGPT":
        from training.models.igpt import IGPT

        return IGPT(self)

    def parameters(self) -> int:
        """Blocks without biases (12 w^2 + 2 w), colours in, colours out, positions, start vector, last gain, classes.

        The palette is data: it is in the checkpoint and not counted, as in the paper.
        """
        w = self.width
        blocks = self.layers * (12 * w * w + 2 * w)
        return blocks + (2 * self.colours + self.tokens + self.classes + 2) * w

    def image_flops(self) -> int:
        """Attention is counted whole, though half of a causal one is never needed."""
        heads = 2 * self.width * (self.tokens * self.colours + self.classes)
        return transformer_flops(self.width, self.layers, self.tokens) + heads

    def sample_flops(self, text_tokens: int | None = None) -> int:
        return self.image_flops()

    def row(self) -> dict[str, Any]:
        return {"image_tower": f"{self.layers} x {self.width} x {self.heads}", "colours": self.colours}


# Section 3.1; heads from the released code, which has none for XL: heads of 96 numbers there, as in L, are our choice.
_PAPER = {"s": (512, 24, 8), "m": (1024, 36, 8), "l": (1536, 48, 16), "xl": (3072, 60, 32)}

SPECS = (
    # Ours, for CPUs and pictures as small as scikit-learn's digits. Two heads of 16 take a third less time than four of 8. At this
    # size the last two layers, of six as of eight, are for colours and lose what a probe reads (igpt_digits).
    IgptSpec("igpt-tiny", size=8, width=32, layers=6, heads=2, colours=16),
    *(
        IgptSpec(f"igpt-{letter}" + ("" if size == 32 else f"-{size}"), size, *sizes)
        for letter, sizes in _PAPER.items()
        for size in (32, 48, 64)
    ),
)
