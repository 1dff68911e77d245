"""Words: which words does the text of a picture have, in no order (Joulin et al. 2016, arXiv:1511.02251, section 3.2; the
bag-of-words prediction of CLIP's figure 2, arXiv:2103.00020).

B = pictures, C = texts, T = tokens, W = width, V = vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.linear import Linear
from training.models.tower_model import TowerModel
from training.models.towers import image_tower
from training.specs.words import WordsSpec


class Words(TowerModel):
    """A linear layer over an image tower's features. Scores a text by the mean log-probability of its words."""

    spec: WordsSpec

    def __init__(self, spec: WordsSpec) -> None:
        super().__init__()
        self.spec = spec
        self.visual = image_tower(spec.image, spec.activation)
        self.answers = Linear(spec.image.features, spec.vocabulary)
        nn.init.normal_(self.answers.weight, std=spec.image.features**-0.5)
        nn.init.zeros_(self.answers.bias)

    def image_features(self, pixels_B3SS: Tensor) -> Tensor:
        features: Tensor = self.visual(pixels_B3SS)
        return features

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, V) float32: the log-probability that a word drawn from the text is this one."""
        return functional.log_softmax(self.answers(self.visual(pixels_B3SS)).float(), dim=1)

    def text_scores(self, pixels_B3SS: Tensor, tokens_CT: Tensor) -> Tensor:
        """(B, C): the mean log-probability of each text's words."""
        return self(pixels_B3SS) @ shares(tokens_CT, self.spec.vocabulary).T


def shares(tokens_BT: Tensor, vocabulary: int) -> Tensor:
    """(B, V): 1 / |U| for each of the |U| distinct tokens between a text's start and end, else 0; an empty text has none."""
    place_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    inside_BT = (place_T > 0) & (place_T < tokens_BT.argmax(dim=1, keepdim=True))
    # Ends and padding go to a column behind the vocabulary: token 0 is padding, and also a byte that texts may have.
    column_BT = torch.where(inside_BT, tokens_BT, vocabulary)
    has_BV = torch.zeros(len(tokens_BT), vocabulary + 1, device=tokens_BT.device).scatter_(1, column_BT, 1.0)[:, :-1]
    return has_BV / has_BV.sum(dim=1, keepdim=True).clamp_min(1.0)
