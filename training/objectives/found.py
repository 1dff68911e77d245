"""Accuracy in batch: the share of rows whose own column scores highest, ties shared.

Two pictures with one caption have the same column twice, and a model that gives one embedding to all scores all alike. A row
whose own column is one of n equals counts 1 / n, what a fair draw among them would find: `>=` would count 1 for each and call
a collapsed model perfect, argmax goes by the order in the batch.

Equal columns leave products of different shape (blocks, ranks) with different rounding, so cosines nearer than TIE are equal:
the number is the same however the batch is cut. Rows are held against their own logit, not against the highest so far, whose
neighbourhood would depend on the order of blocks.
"""

import torch
from torch import Tensor

TIE = 2.0**-20
"""Of a cosine: some times the rounding of a float32 product of unit rows."""


def own_logits(scaled_BD: Tensor, columns_BD: Tensor) -> Tensor:
    """(B,): each row with its own column, before any block is looked at."""
    return (scaled_BD * columns_BD).sum(dim=1)


def counted(logits: Tensor, own: Tensor, scale: Tensor, dim: int) -> Tensor:
    """(2, rows) int32: how many logits along `dim` are above the own one, and how many are no lower (the own one too)."""
    own = own.unsqueeze(dim)
    above, no_lower = logits > own + TIE * scale, logits >= own - TIE * scale
    # int32: torch's sum of bools into its usual int64 takes a CPU seven times as long.
    return torch.stack([each.sum(dim=dim, dtype=torch.int32) for each in (above, no_lower)])


def accuracy(counts_2B: Tensor) -> Tensor:
    """(1,) float32 from the counts over all columns: the mean over rows of 1 / n where n share the highest place, else 0."""
    above_B, no_lower_B = counts_2B
    return ((above_B == 0) & (no_lower_B > 0)).div(no_lower_B.clamp(min=1)).mean(dim=0, keepdim=True)
