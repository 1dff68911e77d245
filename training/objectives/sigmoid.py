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
from training.objectives.gather import first_row, gather_rows, highest_over_ranks
from training.objectives.objective import Objective
from training.objectives.products import blocks, full_float32, own
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.batch import Batch


class _EachPair(torch.autograd.Function):
    """The loss of B pictures against G texts over B; and, without gradient, the highest logit of each row and column and
    of each row's own text. With q = sigmoid(-z l), l the logit: d/dl = -z q / B."""

    @staticmethod
    def forward(
        ctx: Any, rows_BD: Tensor, columns_GD: Tensor, scale: Tensor, bias: Tensor, first: int, block: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        B, G = len(rows_BD), len(columns_GD)
        to_rows_BD, to_columns_GD = torch.zeros_like(rows_BD), torch.empty_like(columns_GD)
        loss, to_bias = rows_BD.new_zeros(()), rows_BD.new_zeros(1)
        highest_B, own_B = rows_BD.new_full((B,), -torch.inf), rows_BD.new_zeros(B)
        highest_G = rows_BD.new_empty(G)
        with full_float32():
            scaled_BD = rows_BD * scale
            for piece in blocks(B, G, block):
                logits_BC = (scaled_BD @ columns_GD[piece].T).add_(bias)
                own_rows, own_logits = own(logits_BC, piece, first)
                own_B[own_rows] = own_logits
                highest_B = torch.maximum(highest_B, logits_BC.amax(dim=1))
                highest_G[piece] = logits_BC.amax(dim=0)
                own_logits.neg_()  # now these are -z l
                loss += functional.softplus(logits_BC).sum()
                slope_BC = logits_BC.sigmoid_()
                own(slope_BC, piece, first)[1].neg_()
                to_bias += slope_BC.sum()
                to_rows_BD.addmm_(slope_BC, columns_GD[piece])
                torch.mm(slope_BC.T, scaled_BD, out=to_columns_GD[piece])
        to_scale = (to_rows_BD * rows_BD).sum().reshape(scale.shape)
        ctx.save_for_backward(to_rows_BD.mul_(scale), to_columns_GD, to_scale, to_bias.reshape(bias.shape))
        ctx.mark_non_differentiable(highest_B, highest_G, own_B)
        return loss / B, highest_B, highest_G, own_B

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        to_rows_BD, to_columns_GD, to_scale, to_bias = ctx.saved_tensors
        weight = gradients[0] / len(to_rows_BD)
        return to_rows_BD * weight, to_columns_GD * weight, to_scale * weight, to_bias * weight, None, None


def sigmoid_loss(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor, bias: Tensor, block: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, share of pictures that score their text highest, share of texts that score their picture highest).

    As `contrastive_loss`: unit rows, equally many on every rank, float32 whatever they are; `block`: logits at once.
    """
    image_BD, text_BD = image_BD.float(), text_BD.float()
    B = len(image_BD)
    first = first_row(B)
    loss, highest_B, highest_G, own_B = _EachPair.apply(
        image_BD, gather_rows(text_BD), scale.float(), bias.float(), first, block
    )
    highest_mine_B = highest_over_ranks(highest_G)[first : first + B]
    texts_found = (own_B >= highest_B).float().mean(dim=0, keepdim=True)
    return loss, texts_found, (own_B >= highest_mine_B).float().mean(dim=0, keepdim=True)


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
