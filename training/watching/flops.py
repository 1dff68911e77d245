"""The arithmetic of one training sample, in closed form: what MFU counts and what `openwit plan` reckons with.

A product y = W x costs its forward pass, as much again for the gradient in x, and as much for that in W (Chowdhery et al. 2022,
arXiv:2204.02311, appendix B). Not all of it is needed of weights that stand still: a locked tower (LiT, arXiv:2111.07991) reads
pixels or words, which want no gradient, and is computed once; under LoRA (arXiv:2106.09685) the gradient passes through weights
that want none. What is computed again to save memory is no work of the model's: MFU leaves it out, time does not. No torch here.
"""

from collections.abc import Iterator
from typing import Any

from training.config import TrainConfig
from training.objectives.config import PAIRS
from training.specs.base import ModelSpec, transformer_flops

PASSES = 3
"""Forward passes that a step costs where everything learns: its own, and two for the backward one."""


def model_flops(spec: ModelSpec, config: TrainConfig, text_tokens: int | None = None) -> float:
    """Forward and backward, per sample, with a text of so many tokens (the whole context when not given).

    LoRA's factors, a hundredth of what they stand beside, are not counted, nor is a head's share of its gradient.
    """
    forward, still = _forward(spec, config, text_tokens), _still(spec, config, text_tokens)
    learning = forward - still
    if not config.optimizer.lora.rank:
        return PASSES * learning + still
    attention, stem = _attention(spec, config, text_tokens), _stem(spec, config)
    return PASSES * attention + stem + 2 * (learning - attention - stem) + still


def repeated_flops(spec: ModelSpec, config: TrainConfig, text_tokens: int | None = None) -> float:
    """Per sample, what memory.chunks (a gradient cache computes each forward pass twice) and memory.activation_checkpointing
    (a block's forward pass once more) compute again."""
    forward = _forward(spec, config, text_tokens)
    rows = config.global_batch_size // config.workers
    cached = config.objective.kind_for(spec.family) in PAIRS and min(config.memory.chunks, rows) > 1
    again = forward - _still(spec, config, text_tokens) if config.memory.activation_checkpointing else 0.0
    return (forward if cached else 0.0) + again


def _forward(spec: ModelSpec, config: TrainConfig, text_tokens: int | None) -> float:
    """Patches that are left out cost nothing in the blocks, but are made; a locked tower leaves none out."""
    left_out = 0
    if config.patch_dropout and "image" not in _locked(spec, config):
        tower: Any = getattr(spec, "image", spec)
        kept = _tokens(tower, config, text_tokens)
        every, some = (transformer_flops(tower.width, tower.layers, n, tower.hidden) for n in (tower.tokens, kept))
        left_out = every - some
        if getattr(spec, "pool", "") == "attention":  # their keys and values, scores and mixture
            left_out += 4 * (tower.tokens - kept) * tower.width * (tower.width + 1)
    return spec.sample_flops(text_tokens) - left_out


def _locked(spec: ModelSpec, config: TrainConfig) -> frozenset[str]:
    """Towers that stand still as a whole and have nothing that learns before them; a captioner's writer reads the picture."""
    able = {"image", "text"} if spec.family == "clip" else {"image"}
    return frozenset(able & {*config.freeze}) if hasattr(spec, "image") else frozenset()


def _still(spec: ModelSpec, config: TrainConfig, text_tokens: int | None) -> float:
    towers: Any = spec
    locked = _locked(spec, config)
    image = towers.image.flops() if "image" in locked else 0
    return float(image + (towers.text.flops(text_tokens or towers.text.context) if "text" in locked else 0))


def _towers(spec: ModelSpec, config: TrainConfig) -> Iterator[Any]:
    """Transformers that learn; iGPT is one itself."""
    locked, found = _locked(spec, config), {"image": getattr(spec, "image", spec), "text": getattr(spec, "text", None)}
    yield from (tower for name, tower in found.items() if name not in locked and hasattr(tower, "layers"))


def _tokens(tower: Any, config: TrainConfig, text_tokens: int | None) -> int:
    """Of a sample, that go through the tower's blocks."""
    if not hasattr(tower, "tokens"):
        return int(text_tokens or tower.context)
    return int(tower.tokens_without(config.patch_dropout) if config.patch_dropout else tower.tokens)


def _attention(spec: ModelSpec, config: TrainConfig, text_tokens: int | None) -> float:
    """Forward, of queries with keys and scores with values, which want both gradients whatever stands still."""
    found = 0.0
    for tower in _towers(spec, config):
        found += 4 * tower.layers * _tokens(tower, config, text_tokens) ** 2 * tower.width
    return found


def _stem(spec: ModelSpec, config: TrainConfig) -> float:
    """Forward, of what makes tokens of pixels: it wants no gradient where only factors behind it learn."""
    return sum(
        tower.flops() - transformer_flops(tower.width, tower.layers, tower.tokens, tower.hidden)
        for tower in _towers(spec, config)
        if hasattr(tower, "patch")
    )
