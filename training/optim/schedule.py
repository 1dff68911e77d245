"""The learning rate at a step: linear warm-up from zero, then a fall to zero (arXiv:2103.00020, section 2.5).

Ours drives the optimizer, not DeepSpeed's scheduler, so that it is a function of the step alone and needs no state.
"""

import math

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, total_steps: int) -> float:
    """For step 1, 2, ... total_steps; the step after the last would have rate 0."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    left = (total_steps + 1 - step) / max(1, total_steps + 1 - config.warmup_steps)
    share = left if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))
    return config.learning_rate * share
