"""SGD with momentum whose weight decay is decoupled, as AdamW's is (Loshchilov and Hutter 2017, arXiv:1711.05101, algorithm 1;
big_vision decays the same way under every optimizer).

torch's SGD adds the decay to the gradient, so momentum sums it: at 0.9 weights fall ten times as fast as `weight_decay` says.

    m <- beta m + g      w <- (1 - lr decay) w - lr m
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch

_coupled_step = inspect.unwrap(torch.optim.SGD.step)  # without what torch wraps around it (uncompiled.py)


class SGD(torch.optim.SGD):
    """Element by element, so any cut of the parameters will do: ZeRO 0 to 3."""

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, lr=lr, momentum=momentum, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; `closure` is not called."""
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            learning = [each for each in group["params"] if each.grad is not None]
            if group["weight_decay"] and learning:
                torch._foreach_mul_(learning, 1 - group["lr"] * group["weight_decay"])
            group["weight_decay"] = 0.0
        try:
            _coupled_step(self)
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay
