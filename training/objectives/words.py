"""Bag-of-words prediction: which words the picture's text has (Joulin et al. 2016, arXiv:1511.02251, equation 4: softmax over
the vocabulary against the text's words, each with the same share; CLIP's figure 2, arXiv:2103.00020).

Words are the tokenizer's tokens, each counted once a text. Those of every text (a, of, the) are learned in a few steps and then
add a constant; the papers leave them out by a list.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from training.config import TrainConfig
from training.models.words import shares
from training.objectives.objective import Objective
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from training.data.batch import Batch


class WordsOfText(Objective):
    """For models that give (B, V) log-probabilities."""

    needs = frozenset({"text"})

    def inputs(self, batch: "Batch") -> tuple[Tensor, ...]:
        return (batch.pixels,)

    def loss(self, outputs: Any, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        tokens_BT = batch.with_text()[1].to(outputs.device)
        shares_BV = shares(tokens_BT, outputs.shape[1])
        likeliest_B1 = outputs.detach().argmax(dim=1, keepdim=True)
        found = (shares_BV.gather(1, likeliest_B1) > 0).float().mean(dim=0)
        return -(outputs * shares_BV).sum(dim=1).mean(), {"likeliest_word_is_in_text": found}


def make(kind: str, config: TrainConfig, spec: ModelSpec) -> Objective:
    return WordsOfText()
