"""Sigmoid loss over all ranks (Zhai et al. 2023, "Sigmoid loss for language image pre-training", arXiv:2303.15343,
equation 1): each picture with each text is judged alone, a pair or not.

    loss = - 1/G  sum over pictures i, texts j of  log sigmoid(z_ij (s x_i.y_j + b)),   z_ij = 1 where i = j, else -1

B = samples on this rank, G = on all ranks, D = embedding width. No row needs another's sum, so each block of columns gives its
loss and its gradient at once and is then forgotten: memory B x (columns of a block) whatever G is. Only texts travel. The mean
over ranks of the ranks' losses is the loss of the whole batch.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from training.config import TrainConfig
from training.objectives.found import accuracy, counted, own_logits
from training.objectives.gather import first_row, gather_rows, sum_over_ranks
from training.objectives.objective import Objective
from training.objectives.products import blocks, full_float32, own
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.batch import Batch


class _EachPair(torch.autograd.Function):
    """The loss of B pictures against G texts over B; and, without gradient, how many texts of each row, and how many of these
    pictures of each column, score above its own pair and no lower (found.py). With q = sigmoid(-z l), l the logit:
    d/dl = -z q / B."""

    @staticmethod
    def forward(
        ctx: Any, rows_BD: Tensor, columns_GD: Tensor, scale: Tensor, bias: Tensor, first: int, block: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        B, G = len(rows_BD), len(columns_GD)
        to_rows_BD, to_columns_GD = torch.zeros_like(rows_BD), torch.empty_like(columns_GD)
        loss, to_bias = rows_BD.new_zeros(()), rows_BD.new_zeros(1)
        rows_2B, columns_2G = (torch.zeros(2, n, dtype=torch.int32, device=rows_BD.device) for n in (B, G))
        with full_float32():
            scaled_BD = rows_BD * scale
            own_B = own_logits(scaled_BD, columns_GD[first : first + B])
            own_G = gather_rows(own_B[:, None])[:, 0]
            for piece in blocks(B, G, block):
                logits_BC = scaled_BD @ columns_GD[piece].T
                rows_2B += counted(logits_BC, own_B, scale, dim=1)
                columns_2G[:, piece] = counted(logits_BC, own_G[piece], scale, dim=0)
                own(logits_BC.add_(bias), piece, first)[1].neg_()  # now these are -z l
                loss += functional.softplus(logits_BC).sum()
                slope_BC = logits_BC.sigmoid_()
                own(slope_BC, piece, first)[1].neg_()
                to_bias += slope_BC.sum()
                to_rows_BD.addmm_(slope_BC, columns_GD[piece])
                torch.mm(slope_BC.T, scaled_BD, out=to_columns_GD[piece])
        to_scale = (to_rows_BD * rows_BD).sum().reshape(scale.shape)
        ctx.save_for_backward(to_rows_BD.mul_(scale), to_columns_GD, to_scale, to_bias.reshape(bias.shape))
        ctx.mark_non_differentiable(rows_2B, columns_2G)
        return loss / B, rows_2B, columns_2G

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        to_rows_BD, to_columns_GD, to_scale, to_bias = ctx.saved_tensors
        weight = gradients[0] / len(to_rows_BD)
        return to_rows_BD * weight, to_columns_GD * weight, to_scale * weight, to_bias * weight, None, None


def sigmoid_loss(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor, bias: Tensor, block: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, share of pictures that score their text highest, share of texts that score their picture highest), ties shared.

    As `contrastive_loss`: unit rows, equally many on every rank, float32 whatever they are; `block`: logits at once.
    """
    image_BD, text_BD = image_BD.float(), text_BD.float()
    B = len(image_BD)
    first = first_row(B)
    loss, rows_2B, columns_2G = _EachPair.apply(
        image_BD, gather_rows(text_BD), scale.float(), bias.float(), first, block
    )
    return loss, accuracy(rows_2B), accuracy(sum_over_ranks(columns_2G)[:, first : first + B])


class Sigmoid(Objective):
    """SigLIP's objective."""

    needs = frozenset({"text"})
    pairs = True
    row_outputs = 2

    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        return batch.with_text()

    def loss(self, outputs: Any, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        image_BD, text_BD, scale, bias = outputs
        loss, texts_found, images_found = sigmoid_loss(image_BD, text_BD, scale, bias)
        return loss, {
            "logit_scale": scale.detach(),
            "logit_bias": bias.detach(),
            "accuracy_image_to_text": texts_found,
            "accuracy_text_to_image": images_found,
        }


def make(kind: str, config: TrainConfig, spec: ModelSpec) -> Objective:
    return Sigmoid()
