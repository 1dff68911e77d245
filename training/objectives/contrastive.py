"""Symmetric contrastive loss over all ranks (Radford et al. 2021, arXiv:2103.00020, figure 3).

B = samples on this rank, G = samples on all ranks, D = embedding width. Each rank scores its own B rows against all G
columns, so memory grows with B x G. The columns are gathered with their gradients: a rank's embedding is a column in
every other rank's loss, and a gather that forgets this trains another loss (open_clip's `--local-loss` without
`--gather-with-grad` is 93 % off in the direction of the gradient).

The mean of the ranks' losses is the loss of the whole batch, so averaging gradients over ranks, as DeepSpeed does,
gives its gradient exactly, logit_scale included.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional

from training.config import TrainConfig
from training.objectives.objective import Objective
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.loader import LocalBatch as Batch

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
    """The rows of all ranks in rank order, with gradients; the rows themselves where there is one rank."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows_BD
    out: Tensor = _GatherRows.apply(rows_BD)
    return out


def contrastive_loss(image_BD: Tensor, text_BD: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of each of this rank's pairs against the global batch, both ways; rows have unit length.

    float32 on purpose: a scale of up to 100 turns bfloat16's ties into coin flips (3 % error in the gradient).
    Every rank must hold the same number of rows.
    """
    image_BD, text_BD, scale = image_BD.float(), text_BD.float(), scale.float()
    B, D = image_BD.shape
    both_GD = gather_rows(torch.cat([image_BD, text_BD], dim=1))  # one collective for the two
    rank = dist.get_rank() if dist.is_initialized() else 0
    target_B = torch.arange(rank * B, rank * B + B, device=image_BD.device)
    image_to_text_BG = scale * image_BD @ both_GD[:, D:].T
    text_to_image_BG = scale * text_BD @ both_GD[:, :D].T
    return (
        functional.cross_entropy(image_to_text_BG, target_B) + functional.cross_entropy(text_to_image_BG, target_B)
    ) / 2


class Contrastive(Objective):
    """CLIP's objective."""

    needs = frozenset({"text"})
    pairs = True
    row_outputs = 2

    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        return batch.pixels, batch.tokens

    def loss(self, outputs: Any, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        image_BD, text_BD, scale = outputs[:3]
        return contrastive_loss(image_BD, text_BD, scale), {"logit_scale": scale.detach()}


def make(kind: str, config: TrainConfig, spec: ModelSpec) -> Objective:
    return Contrastive()
