"""Words as data: an image tower and a linear layer that says which words the text has (the second curve of Radford et al.
2021, arXiv:2103.00020, figure 2, after Joulin et al. 2016, arXiv:1511.02251)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from training.specs.base import Activation
from training.specs.tower_spec import ImageSpec
from training.specs.towers import AnyImageTower, ImageTower, ResNetTower

if TYPE_CHECKING:
    from training.models.words import Words


@dataclass(frozen=True)
class WordsSpec(ImageSpec):
    """`vocabulary` answers; texts are read as sets of the tokenizer's tokens."""

    family: ClassVar[str] = "words"
    image: AnyImageTower
    vocabulary: int = 49_408
    context: int = 77
    activation: Activation = "quick_gelu"

    def with_text(self, vocabulary: int, context: int) -> Self:
        return replace(self, vocabulary=vocabulary, context=context)

    def build(self) -> "Words":
        from training.models.words import Words

        return Words(self)

    def parameters(self) -> int:
        return self.image.parameters() + (self.image.features + 1) * self.vocabulary

    def image_flops(self) -> int:
        return self.image.flops() + 2 * self.image.features * self.vocabulary

    def sample_flops(self, text_tokens: int | None = None) -> int:
        """A text costs nothing: its words are looked up among the answers."""
        return self.image_flops()

    def row(self) -> dict[str, Any]:
        return {"patch_pixels": self.image.patch, "image_tower": self.image.described(), "text_tower": "words"}


SPECS = (
    WordsSpec(
        "words-tiny",
        ImageTower(size=32, patch=8, width=128, layers=3, heads=2, stem="convolutions"),
        activation="gelu",
    ),
    WordsSpec("words-rn50", ResNetTower(224, (3, 4, 6, 3), 64)),
)
