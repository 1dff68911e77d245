"""Texts of different lengths without their padding: all tokens one after the other, texts side by side only where they must be.

Captions fill less than half of the places up to their batch's longest. What acts on each token alone (products, norms, activations:
nine tenths of a block's work) takes the N tokens there are; attention alone is given B rows of T places. Krell et al. 2021
(arXiv:2107.02027) put several texts into one row for the same reason; here no result changes.

B = texts, T = places of the longest, N = tokens of all texts, W = width.
"""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST_PADDING = 0.05
"""Share of the places below which moving tokens about costs what it saves."""


class Ragged(NamedTuple):
    """Where each of N tokens stands among B x T places. A tuple, because DeepSpeed's hooks look into these."""

    places_N: Tensor  # noqa: N815 - a shape, as everywhere
    texts: int
    longest: int

    def packed(self, x_BTW: Tensor) -> Tensor:
        """(N, W) of (B, T, W)."""
        return x_BTW.flatten(0, 1).index_select(0, self.places_N)

    def padded(self, x_NW: Tensor) -> Tensor:
        """(B, T, W) of (N, W), zeros behind each text."""
        empty = x_NW.new_zeros(self.texts * self.longest, x_NW.shape[1])
        return empty.index_copy(0, self.places_N, x_NW).view(self.texts, self.longest, -1)


def ragged(end_B: Tensor, longest: int) -> Ragged | None:
    """For texts whose last token is `end_B`; None where hardly a place is empty."""
    places_N = (torch.arange(longest, device=end_B.device) <= end_B[:, None]).flatten().nonzero().squeeze(1)
    if len(places_N) > (1 - LEAST_PADDING) * len(end_B) * longest:
        return None
    return Ragged(places_N, len(end_B), longest)
