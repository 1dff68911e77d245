"""What a model that tells classes says of pictures: ViT's and iGPT's own heads, after supervised training or fine-tuning.

B = pictures, S = side in pixels, K = classes that the model tells apart.
"""

from collections.abc import Mapping
from typing import Any

import torch

from training.models.classifier import Classifier
from training.models.igpt import IGPT
from training.models.igpt_masks import masked_class_probabilities


def tells_classes(model: Any) -> bool:
    head = model.head if isinstance(model, Classifier) else model.class_head if isinstance(model, IGPT) else None
    return head is not None


def class_logits(model: Any, config: Mapping[str, Any], pixels_B3SS: torch.Tensor) -> torch.Tensor:
    """(B, K). An iGPT fine-tuned on masked pictures is asked with five masks and answers the mean (Chen et al. 2020, 4.7)."""
    if not isinstance(model, IGPT):
        logits_BK: torch.Tensor = model(pixels_B3SS)
        return logits_BK
    if learned_masked(config):
        return masked_class_probabilities(model, pixels_B3SS).log()
    return model(pixels_B3SS)[2]


def learned_masked(config: Mapping[str, Any]) -> bool:
    """Whether the training's config says that classes were learned from masked pictures."""
    objective = config.get("objective") or {}
    return objective.get("kind") == "joint" and objective.get("generative") == "masked_pixels"
