"""Where a number that is not finite came from: the step once more, with eyes on every tensor.

A step that fails left the weights as they were, and its draws are functions of the step, so doing it again does the same. Then
each module's output and each parameter's gradient is looked at, which would cost too much in every step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.engine.ranks import Ranks


def diverged(step: int, loss: float, norm: float, bad: str, config: TrainConfig) -> DataError:
    """What a run that cannot go on says."""
    return DataError(
        f"step {step:,}: loss {loss:g}, gradient norm {norm:g}; first bad tensor: {bad}; the weights have diverged: lower"
        f" train.learning_rate ({config.learning_rate:g}) or set train.max_gradient_norm to 1.0"
        " (checkpoints written before this step are intact)"
    )


def stands_still(loss: float, config: TrainConfig) -> ConfigError:
    """What a run says whose first gradient is exactly zero: it would go on like that to its end."""
    held = [f"train.freeze {', '.join(config.freeze)}"] if config.freeze else []
    if config.optimizer.lora.rank:
        held.append(f"train.optimizer.lora.layers {', '.join(config.optimizer.lora.layers)}")
    return ConfigError(
        f"step 1: loss {loss:g} and a gradient of exactly 0, so nothing would ever be learned; let the part that begins at zero"
        f" (a new head) learn: change {' or '.join(held) or 'train.start_from'}"
    )


def first_bad_tensor(model: nn.Module, again: Callable[[], object], ranks: Ranks) -> str:
    """Name of the first tensor with a NaN or infinity, in the order of computation: a parameter, an activation, a gradient.

    `again` does the step's forward and backward passes. Collective: the lowest rank that finds one names it.
    """
    found = _bad_parameter(model)
    if ranks.first_word(found) is None:
        with _watched(model) as seen:
            again()
        found = seen[0] if seen else None
    named = ranks.first_word(found)
    return named or "none of the tensors looked at: the loss itself"


def _bad_parameter(model: nn.Module) -> str | None:
    for name, parameter in model.named_parameters():
        held: Tensor = getattr(parameter, "ds_tensor", parameter)
        if not _finite(held.detach()):
            return f"parameter {name}"
    return None


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Names of what is not finite, in the order in which it is computed."""
    seen: list[str] = []

    def output_of(name: str) -> Callable[..., None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, tuple | list) else (output,)
            if not seen and not all(_finite(each) for each in tensors if isinstance(each, Tensor)):
                seen.append(f"activation {name}" if name else "the model's output")

        return look

    def gradient_of(name: str) -> Callable[[Tensor], None]:
        def look(gradient: Tensor) -> None:
            if not seen and not _finite(gradient):
                seen.append(f"gradient of {name}")

        return look

    hooks = [module.register_forward_hook(output_of(name)) for name, module in model.named_modules()]
    hooks += [p.register_hook(gradient_of(name)) for name, p in model.named_parameters() if p.requires_grad]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
