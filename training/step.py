"""One training step's forward and backward: the batch through the engine, the objective's loss, its gradient.

Chunks, caches and what else makes a large batch fit belong here; the engine only knows modules, and an objective only values.
"""

from dataclasses import dataclass

from torch import Tensor

from training.data.loader import LocalBatch
from training.engine import Engine
from training.models.draws import row_draws
from training.objectives.objective import Objective


@dataclass(frozen=True)
class Outcome:
    """`loss` is this rank's share of the mean, not yet averaged over ranks; `metrics` are one-element tensors by name."""

    loss: Tensor
    metrics: dict[str, Tensor]


def compute(engine: Engine, objective: Objective, batch: LocalBatch, keys_B: Tensor, chunks: int = 1) -> Outcome:
    """This rank's rows against the global batch. Gradients are left in the engine; nothing is updated yet.

    `keys_B` (int64, training/data/order.py: row_keys) decide what the model draws for each row.
    """
    with row_draws(keys_B):
        outputs = engine.forward(*objective.inputs(batch))
        loss, metrics = objective.loss(outputs, batch)
        engine.backward(loss)
    return Outcome(loss.detach(), metrics)
