"""The learning rate at a step: linear warm-up from zero, then a fall (CLIP: arXiv:2103.00020, section 2.5; ViT: Scaling ViT,
arXiv:2106.04560, section 3.5: one over the root of the step, and a line to zero at the end).

Ours drives the optimizer, not DeepSpeed's scheduler, so that it is a function of the step alone and needs no state.
"""

import math

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, total_steps: int) -> float:
    """For step 1, 2, ... total_steps; the step after the last would have rate 0 (but for constant and rsqrt without cooldown)."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    rate = config.learning_rate * _share(config, step, total_steps)
    cooldown = min(config.cooldown_steps, total_steps - config.warmup_steps)
    if cooldown and step > total_steps - cooldown:
        rate *= (total_steps + 1 - step) / (cooldown + 1)
    return rate


def _share(config: TrainConfig, step: int, total_steps: int) -> float:
    """Of the highest rate, after the warm-up, before any cooldown."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "rsqrt":
        # big_vision's: the curve goes on smoothly from the end of the warm-up, whatever its length.
        return math.sqrt(config.rsqrt_timescale_steps / (config.rsqrt_timescale_steps + step - config.warmup_steps))
    left = (total_steps + 1 - step) / max(1, total_steps + 1 - config.warmup_steps)
    return left if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))
