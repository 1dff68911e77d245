"""Texts of different lengths without their padding: all tokens one after the other, texts side by side only where they must be.

Captions fill less than half of the places up to their batch's longest. What acts on each token alone (products, norms, activations:
nine tenths of a block's work) takes the N tokens there are; attention alone is given B rows of T places. Krell et al. 2021
(arXiv:2107.02027) put several texts into one row for the same reason; here no result changes.

B = texts, T = places of the longest, N = tokens of all texts, filled up to a round number with places behind their ends, W = width.
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
    """For texts whose last token is `end_B`; None where hardly a place is empty. The texts' tokens come first in `places_N`."""
    is_token_P = (torch.arange(longest, device=end_B.device) <= end_B[:, None]).flatten()
    tokens_N = is_token_P.nonzero().squeeze(1)
    more = rounded(len(tokens_N)) - len(tokens_N)
    if len(tokens_N) + more > (1 - LEAST_PADDING) * len(is_token_P):
        return None
    if more:
        tokens_N = torch.cat([tokens_N, (~is_token_P).nonzero()[:more, 0]])
    return Ragged(tokens_N, len(end_B), longest)


def rounded(tokens: int) -> int:
    """Up by a sixteenth at most, and 3 % on average, to one of few numbers.

    oneDNN keeps what it compiled for each size of a product, the last 1,024 of them: with a number of tokens of its own in each
    batch that grew by 1 MB a step and came to 300 MB in each rank of the demo, and every new number was compiled for.
    """
    step = 1 << max(0, (tokens // 16).bit_length() - 1)
    return -(-tokens // step) * step
