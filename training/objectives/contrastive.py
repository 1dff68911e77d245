"""Symmetric contrastive loss over all ranks (Radford et al. 2021, arXiv:2103.00020, figure 3), in bounded memory.

B = samples on this rank, G = samples on all ranks, D = embedding width. Each rank scores its own B rows against all G
columns, a block of columns at a time: a first walk over the blocks finds each row's log-sum-exp (a running maximum and sum:
Milakov and Gimelshein 2018, arXiv:1805.02867), and the backward pass makes each block's logits again. So it takes four
products where standing logits take three, a hundredth of a step's work, and no B x G numbers.

The mean of the ranks' losses is the loss of the whole batch, so averaging gradients over ranks, as DeepSpeed does,
gives its gradient exactly, logit_scale included.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from training.config import TrainConfig
from training.objectives.found import accuracy, counted, own_logits
from training.objectives.gather import first_row, gather_rows
from training.objectives.objective import Objective
from training.objectives.products import blocks, full_float32, own
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.batch import Batch


class _RowsFindColumns(torch.autograd.Function):
    """Mean over rows of the cross-entropy of column `first` + b among all columns, and the share of rows that score it
    highest, ties shared (found.py). With p = softmax of logits s r.c and t = 1 for the row's own column:
    d/dr = s (p - t) c,  d/dc = s (p - t)^T r,  d/ds = sum of (p - t) r.c, each over B."""

    @staticmethod
    def forward(
        ctx: Any, rows_BD: Tensor, columns_GD: Tensor, scale: Tensor, first: int, block: int
    ) -> tuple[Tensor, Tensor]:
        B = len(rows_BD)
        highest_B = rows_BD.new_full((B,), -math.inf)
        sum_B, own_B = rows_BD.new_zeros(B), rows_BD.new_zeros(B)
        counts_2B = torch.zeros(2, B, dtype=torch.int32, device=rows_BD.device)
        with full_float32():
            scaled_BD = rows_BD * scale
            known_B = own_logits(scaled_BD, columns_GD[first : first + B])
            for piece in blocks(B, len(columns_GD), block):
                logits_BC = scaled_BD @ columns_GD[piece].T
                own_rows, own_values = own(logits_BC, piece, first)
                own_B[own_rows] = own_values
                counts_2B += counted(logits_BC, known_B, scale, dim=1)
                higher_B = torch.maximum(highest_B, logits_BC.amax(dim=1))
                sum_B *= (highest_B - higher_B).exp_()
                sum_B += logits_BC.sub_(higher_B[:, None]).exp_().sum(dim=1)
                highest_B = higher_B
        total_B = highest_B + sum_B.log()
        ctx.save_for_backward(rows_BD, columns_GD, scale, total_B)
        ctx.first, ctx.block = first, block
        found = accuracy(counts_2B)
        ctx.mark_non_differentiable(found)
        return (total_B - own_B).mean(), found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        rows_BD, columns_GD, scale, total_B = ctx.saved_tensors
        B = len(rows_BD)
        to_rows_BD, to_columns_GD = torch.zeros_like(rows_BD), torch.empty_like(columns_GD)
        with full_float32():
            scaled_BD = rows_BD * scale
            for piece in blocks(B, len(columns_GD), ctx.block):
                share_BC = (scaled_BD @ columns_GD[piece].T).sub_(total_B[:, None]).exp_()
                own(share_BC, piece, ctx.first)[1].sub_(1)
                to_rows_BD.addmm_(share_BC, columns_GD[piece])
                torch.mm(share_BC.T, scaled_BD, out=to_columns_GD[piece])
        weight = gradients[0] / B
        to_scale = (to_rows_BD * rows_BD).sum().reshape(scale.shape) * weight  # sum over columns of (p - t) r.c
        return to_rows_BD.mul_(scale * weight), to_columns_GD.mul_(weight), to_scale, None, None


def contrastive_loss(image_BD: Tensor, text_BD: Tensor, scale: Tensor, block: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, share of pictures that find their text, share of texts that find their picture) among the global batch; who finds
    n equals counts 1 / n (found.py).

    Rows have unit length; every rank must hold the same number of rows. float32 on purpose, whatever the rows are: a scale
    of up to 100 turns bfloat16's ties into coin flips (3 % error in the gradient). `block`: logits at once.
    """
    image_BD, text_BD, scale = image_BD.float(), text_BD.float(), scale.float()
    B, D = image_BD.shape
    both_GD = gather_rows(torch.cat([image_BD, text_BD], dim=1))  # one collective for the two
    first = first_row(B)
    images_GD, texts_GD = both_GD[:, :D].contiguous(), both_GD[:, D:].contiguous()
    to_text, texts_found = _RowsFindColumns.apply(image_BD, texts_GD, scale, first, block)
    to_image, images_found = _RowsFindColumns.apply(text_BD, images_GD, scale, first, block)
    return (to_text + to_image) / 2, texts_found, images_found


class Contrastive(Objective):
    """CLIP's objective: each picture finds its text, each text its picture, among all of the global batch."""

    needs = frozenset({"text"})
    pairs = True
    row_outputs = 2

    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        return batch.with_text()

    def loss(self, outputs: Any, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        image_BD, text_BD, scale = outputs[:3]  # a model with a bias keeps it for another loss
        loss, texts_found, images_found = contrastive_loss(image_BD, text_BD, scale)
        return loss, {
            "logit_scale": scale.detach(),
            "accuracy_image_to_text": texts_found,
            "accuracy_text_to_image": images_found,
        }


def make(kind: str, config: TrainConfig, spec: ModelSpec) -> Objective:
    return Contrastive()
