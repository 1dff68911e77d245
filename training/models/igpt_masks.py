"""Which pixels BERT-like training and evaluation mask, and classes by several masks (Chen et al. 2020, sections 2.1 and 4.7)."""

import torch
from torch import Tensor

from training.models.igpt import IGPT
from training.models.igpt_sampling import place_draws

MASK_PROBABILITY = 0.15
MASKS = 5


def evaluation_masks(places: int, masks: int, probability: float, seed: int) -> Tensor:
    """(M, T) bool, True where a pixel is kept: the same masks for every picture, so no answer depends on its batch."""
    return place_draws(seed, masks, places) >= probability


@torch.no_grad()
def masked_class_probabilities(
    model: IGPT,
    pixels_B3SS: Tensor,
    masks: int = MASKS,
    probability: float = MASK_PROBABILITY,
    vote: bool = False,
    seed: int = 0,
) -> Tensor:
    """(B, K): the mean over masks of the classes' probabilities; with `vote`, the share of masks that choose each class.

    Section 4.7: a model fine-tuned on masked pictures is also asked with masked pictures, five times, and the commonest answer
    is taken (+1 point on ImageNet). Raises ValueError for a model without classes.
    """
    if model.class_head is None:
        raise ValueError(f"{model.spec.name} has no classes; fine-tune it with objective.kind joint first")
    found_MBK = []
    for keep_T in evaluation_masks(model.spec.tokens, masks, probability, seed).to(pixels_B3SS.device):
        _, _, classes_BK = model(pixels_B3SS, keep_T.expand(len(pixels_B3SS), -1))
        share_BK = classes_BK.softmax(dim=1)
        if vote:
            share_BK = torch.nn.functional.one_hot(share_BK.argmax(dim=1), share_BK.shape[1]).to(share_BK)
        found_MBK.append(share_BK)
    return torch.stack(found_MBK).mean(dim=0)
