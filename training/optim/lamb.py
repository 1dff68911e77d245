"""LAMB (You et al. 2019, arXiv:1904.00962, algorithm 2): Adam's direction, as long as the weights it moves; EVA-CLIP's choice
for batches beyond 100,000.

    u = m^ / (sqrt(v^) + eps) + decay w      w <- w - lr |w| / |u| u
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """Needs each parameter whole, for its norm: ZeRO 0 only. Gains, biases and scales, which do not decay, move as in Adam."""

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float], eps: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; `closure` is not called."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        step, (beta1, beta2), decay = float(state["step"]), group["betas"], group["weight_decay"]
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
        update = (state["exp_avg"] / (1 - beta1**step)).div_(root)
        if decay:
            update.add_(weight, alpha=decay)
            ratio = weight.norm() / update.norm()
            update.mul_(torch.where(ratio.isfinite() & (ratio > 0), ratio, torch.ones_like(ratio)))
        weight.sub_(update, alpha=group["lr"])
