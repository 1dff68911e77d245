"""One training step's forward and backward: the batch through the engine, the objective's loss, its gradient.

Chunks, caches and what else makes a large batch fit belong here; the engine only knows modules, and an objective only values.
"""

from dataclasses import dataclass

from torch import Tensor

from training.data.batch import Batch
from training.engine import Engine
from training.objectives.contrastive import contrastive_loss


@dataclass(frozen=True)
class Outcome:
    """`loss` is this rank's share of the mean, not yet averaged over ranks; `metrics` are one-element tensors by name."""

    loss: Tensor
    metrics: dict[str, Tensor]


def compute(engine: Engine, batch: Batch) -> Outcome:
    """This rank's rows against the global batch. Gradients are left in the engine; nothing is updated yet."""
    assert batch.tokens is not None
    image_BD, text_BD, scale = engine.forward(batch.pixels, batch.tokens)
    loss = contrastive_loss(image_BD, text_BD, scale)
    engine.backward(loss)
    return Outcome(loss.detach(), {"logit_scale": scale.detach()})
