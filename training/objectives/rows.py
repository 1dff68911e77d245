"""Each row's share of a loss, so that their mean is the loss: who is to blame for a spike (training/watching/replay.py).

For one process that holds the whole batch. An objective that judges samples one by one is asked for each row alone, with the
row's own draws; a picture mixed with its neighbour is one row, as the model saw it. In an objective that couples samples, a
row's share is what it says about the batch: a picture finding its text and its text finding it (contrastive), a picture with
every text (sigmoid).
"""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from training.models.draws import row_draws
from training.objectives.classify import Classify
from training.objectives.objective import Objective
from training.objectives.products import blocks
from training.objectives.sigmoid import Sigmoid

if TYPE_CHECKING:
    from training.data.batch import Batch


@torch.no_grad()
def row_losses(objective: Objective, outputs: Any, batch: "Batch", keys_B: Tensor) -> Tensor:
    """(B,) float32 from the outputs of the whole batch, or of one chunk where nothing couples its samples; `keys_B` are those
    that the step drew by."""
    if isinstance(objective, Classify):
        with row_draws(keys_B):
            return objective.judged(outputs, batch)[0].float()
    if not objective.pairs:
        return torch.stack([_alone(objective, outputs, batch, keys_B, row) for row in range(len(batch))])
    image_BD, text_BD, scale = (each.float() for each in outputs[:3])
    if isinstance(objective, Sigmoid):
        bias = outputs[3].float()
        return torch.cat(
            [
                functional.softplus(_signed(scale * image_BD[rows] @ text_BD.T + bias, rows)).sum(dim=1)
                for rows in blocks(len(text_BD), len(image_BD), 0)
            ]
        )
    return (_found(image_BD, text_BD, scale) + _found(text_BD, image_BD, scale)) / 2


def _alone(objective: Objective, outputs: Any, batch: "Batch", keys_B: Tensor, row: int) -> Tensor:
    with row_draws(keys_B[row : row + 1]):
        return objective.loss(_row(outputs, row), rows_of(batch, slice(row, row + 1)))[0].float()


def _found(rows_BD: Tensor, columns_BD: Tensor, scale: Tensor) -> Tensor:
    """(B,): cross-entropy of each row's own column, a block of rows at a time."""
    out = []
    for rows in blocks(len(columns_BD), len(rows_BD), 0):
        target = torch.arange(rows.start, min(rows.stop, len(rows_BD)), device=rows_BD.device)
        out.append(functional.cross_entropy(scale * rows_BD[rows] @ columns_BD.T, target, reduction="none"))
    return torch.cat(out)


def _signed(logits_CB: Tensor, rows: slice) -> Tensor:
    """-z l of Zhai et al., equation 1: the own column's sign is turned."""
    own = torch.arange(len(logits_CB), device=logits_CB.device)
    logits_CB[own, own + rows.start] *= -1
    return logits_CB


def _row(outputs: Any, row: int) -> Any:
    if isinstance(outputs, tuple | list):
        return tuple(_row(each, row) for each in outputs)
    return outputs[row : row + 1] if isinstance(outputs, Tensor) and outputs.ndim else outputs


def rows_of(batch: "Batch", part: slice) -> "Batch":
    """Some rows of a batch; a field that it does not have stays None."""
    values: dict[str, Any] = {each.name: getattr(batch, each.name) for each in fields(batch)}
    cut: dict[str, Any] = {name: value if value is None else value[part] for name, value in values.items()}
    return replace(batch, **cut)
