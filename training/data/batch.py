"""Batch: what the loader gives and objectives, step and engine take; one rank's rows of one global batch."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Rows that belong together by position; `len` is their number B."""

    pixels: Tensor
    """(B, 3, S, S) uint8; the models normalise, on their device."""
    tokens: Tensor | None = None
    """(B, T) int64: start, text, end, zeros. None where the data has no text."""
    labels: Tensor | None = None
    """(B,) int64 class numbers, or (B, C) float32 shares per class. None where the data has none."""
    samples: tuple[int, ...] = ()
    """Positions in the dataset (over all sources, in their order), for replay and tests."""

    def __len__(self) -> int:
        return len(self.pixels)

    def with_text(self) -> tuple[Tensor, Tensor]:
        """Pixels and tokens, for an objective that was promised texts."""
        assert self.tokens is not None
        return self.pixels, self.tokens
