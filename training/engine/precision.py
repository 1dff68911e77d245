"""The precision of the towers' matrix products. Weights, moments, logits and losses stay float32 in all.

torch's autocast, not DeepSpeed's bf16 and fp16 modes: those cast every parameter, and logit_scale in bfloat16 moves in steps of
3 % near its limit. float16 has 5 bits of exponent, so small gradients vanish in it; the loss is scaled up before the backward
pass and the gradients down after it (Micikevicius et al. 2017, arXiv:1710.03740, section 3.2).
"""

from typing import Any

import torch
from torch import Tensor, nn

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
FIRST_SCALE = 2.0**16
MOST_SCALE = 2.0**24
STEPS_TO_DOUBLE = 2000
LEAST_SCALE = 2.0**-14
"""Below it the loss itself would be lost: so many overflows in a row mean that the weights have diverged."""


class Precise(nn.Module):
    """A model under the configured precision."""

    def __init__(self, model: nn.Module, precision: str) -> None:
        super().__init__()
        self.model = model
        self.dtype = DTYPES.get(precision)

    def forward(self, *inputs: Tensor) -> Any:
        if self.dtype is None:
            return self.model(*inputs)
        with torch.autocast(inputs[0].device.type, dtype=self.dtype):
            return self.model(*inputs)


class LossScale:
    """Doubles after 2,000 steps without overflow, halves at one; stays 1 where the precision needs none."""

    def __init__(self, precision: str) -> None:
        self.dynamic = precision == "float16"
        self.value = FIRST_SCALE if self.dynamic else 1.0
        self.good_steps = 0
        self.skipped_steps = 0

    def after(self, overflow: bool) -> bool:
        """Take note of a step; whether training can go on."""
        if not self.dynamic:
            return not overflow
        if overflow:
            self.value /= 2
            self.good_steps = 0
            self.skipped_steps += 1
            return self.value >= LEAST_SCALE
        self.good_steps += 1
        if self.good_steps % STEPS_TO_DOUBLE == 0:
            self.value = min(MOST_SCALE, self.value * 2)
        return True

    def state(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"value": self.value, "good_steps": self.good_steps, "skipped_steps": self.skipped_steps}

    def take(self, state: dict[str, float]) -> None:
        """What `state` gave."""
        self.value = float(state["value"])
        self.good_steps, self.skipped_steps = int(state["good_steps"]), int(state["skipped_steps"])
