"""Rows of all ranks on every rank, with gradients.

A rank's embedding is a column in every other rank's loss; a gather that forgets this trains another loss (open_clip's
`--local-loss` without `--gather-with-grad` is 93 % off in the direction of the gradient).
"""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

# torch 2.13 renames it and warns at each use of the old name.
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class _GatherRows(torch.autograd.Function):
    """(B, D) on every rank -> (G, D) on every rank; backward adds up what all ranks' losses say about our rows."""

    @staticmethod
    def forward(ctx: Any, rows_BD: Tensor) -> Tensor:
        parts = [torch.empty_like(rows_BD) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows_BD.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient_GD = gradients[0].contiguous()
        mine_BD = torch.empty_like(gradient_GD[: gradient_GD.shape[0] // dist.get_world_size()])
        _reduce_scatter(mine_BD, gradient_GD)
        return mine_BD


def gather_rows(rows_BD: Tensor) -> Tensor:
    """The rows of all ranks in rank order, with gradients; the rows themselves where there is one rank.

    Every rank must hold the same number of rows. One collective forward, one backward.
    """
    if _ranks() == 1:
        return rows_BD
    out: Tensor = _GatherRows.apply(rows_BD)
    return out


def first_row(rows: int) -> int:
    """Where this rank's `rows` stand among those of all ranks."""
    return dist.get_rank() * rows if _ranks() > 1 else 0


def sum_over_ranks(values: Tensor) -> Tensor:
    """Element by element; no gradient."""
    if _ranks() > 1:
        dist.all_reduce(values)
    return values


def _ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1
