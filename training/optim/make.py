"""The optimizer that a config names, over parameter groups; torch's fused kernels where there are any."""

from typing import Any

import torch

from training.config import TrainConfig
from training.optim.adafactor import Adafactor
from training.optim.lamb import Lamb
from training.optim.sgd import SGD
from training.optim.uncompiled import methods_without_compiler, step_without_compiler


def make_optimizer(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    """Under ZeRO the same optimizer sees flat pieces of the parameters: only element-wise rules survive that (adamw, sgd)."""
    methods_without_compiler()
    return step_without_compiler(_make(groups, config))


def _make(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    settings = config.optimizer
    betas = (settings.beta1, settings.beta2)
    if settings.kind == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=settings.beta1)
    if settings.kind == "adafactor":
        return Adafactor(groups, lr=config.learning_rate, momentum=settings.beta1)
    if settings.kind == "lamb":
        return Lamb(groups, lr=config.learning_rate, betas=betas, eps=settings.epsilon)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=settings.epsilon, fused=True)
