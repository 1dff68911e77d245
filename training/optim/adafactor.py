"""Adafactor as Scaling ViT uses it (Zhai et al. 2021, arXiv:2106.04560, section 3.4; big_vision's optax.py).

The second moment of a matrix is kept as the means of its rows and of its columns (Shazeer and Stern 2018, arXiv:1804.04235,
section 3), the first one in bfloat16: 2 bytes per weight in place of Adam's 8. What differs from Shazeer and Stern: there is
a first moment, no clipping of the update, no learning rate relative to the weights; beta2 stops at 0.999; weight decay is
decoupled. Only matrices whose two longest sides have 32 numbers or more are factored.

    beta2(t) = min(0.999, 1 - t^-0.8)      v_ij = r_i c_j / mean(r)      u = g / sqrt(v)      m = 0.9 m + 0.1 u
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MIN_SIDE = 32
TINY = 1e-30
MAX_BETA2 = 0.999
POWER = 0.8


class Adafactor(torch.optim.Optimizer):
    """Needs whole matrices: ZeRO 0 only."""

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; `closure` is not called."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        sides = factored_sides(tuple(weight.shape))
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(weight, dtype=torch.bfloat16)
            if sides is None:
                state["square"] = torch.zeros_like(weight)
            else:
                row, column = sides
                state["square_rows"] = weight.new_zeros(_without(weight.shape, column))
                state["square_columns"] = weight.new_zeros(_without(weight.shape, row))
        state["step"] += 1
        beta2 = min(MAX_BETA2, 1 - float(state["step"]) ** -POWER)
        square = gradient.square() + TINY
        if sides is None:
            state["square"].lerp_(square, 1 - beta2)
            update = gradient * state["square"].rsqrt()
        else:
            row, column = sides
            rows, columns = state["square_rows"], state["square_columns"]
            rows.lerp_(square.mean(dim=column), 1 - beta2)
            columns.lerp_(square.mean(dim=row), 1 - beta2)
            along = row if row < column else row - 1  # where `row` is, once `column` is gone
            relative = (rows / rows.mean(dim=along, keepdim=True)).rsqrt().unsqueeze(column)
            update = gradient * relative * columns.rsqrt().unsqueeze(row)
        momentum = state["exp_avg"].float().lerp_(update, 1 - group["momentum"])
        state["exp_avg"].copy_(momentum)
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(momentum, alpha=-group["lr"])


def factored_sides(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The dimensions of the two longest sides (second longest, longest); None where the second is shorter than 32."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda side: shape[side])
    second, longest = order[-2], order[-1]
    return (second, longest) if shape[second] >= MIN_SIDE else None


def _without(shape: torch.Size, side: int) -> tuple[int, ...]:
    return (*shape[:side], *shape[side + 1 :])
