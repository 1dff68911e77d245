"""Caption prediction: the text token by token, each from those before it and the picture (the language model of CLIP's
figure 2, arXiv:2103.00020, section 2.3).

The loss of a text is the mean over its tokens, and that of the batch the mean over its texts, so that it does not depend on
how ranks and chunks share the texts. T = tokens.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from training.config import TrainConfig
from training.objectives.objective import Objective
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.batch import Batch


class Caption(Objective):
    """For models that give (B, T - 1) log-probabilities, zero behind a text's end."""

    needs = frozenset({"text"})

    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        return batch.with_text()

    def loss(self, outputs: Any, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        asked_B = batch.with_text()[1].argmax(dim=1).to(outputs.device)
        loss = -(outputs.sum(dim=1) / asked_B).mean()
        return loss, {"text_nats": -outputs.detach().sum(dim=1).mean(dim=0, keepdim=True)}


def make(kind: str, config: TrainConfig, spec: ModelSpec) -> Objective:
    return Caption()
