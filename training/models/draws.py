"""Random numbers inside of a model, as a function of the sample's key and not of torch's random state.

A step gives each row of the batch a key (training/data/order.py) and runs the model inside `row_draws(keys)`. What a row
draws then depends neither on the rows beside it, nor on ranks, chunks, or how often the forward pass runs: a gradient cache
or activation checkpointing that runs it twice gets the same draws twice. The numbers are counter-based, like the loader's
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), and equal on CPUs and GPUs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

PATCHES, MASK, TEXT, MIXUP = 1, 2, 3, 4  # purposes: each draws from a stream of its own

# A plain global and no context variable: the backward pass, which may run the model again, has threads of its own.
_keys: Tensor | None = None


@contextmanager
def row_draws(keys_B: Tensor) -> Iterator[None]:
    """Inside, row b of a batch draws what `keys_B[b]` (int64) says; forward and backward pass both belong inside."""
    global _keys
    before, _keys = _keys, keys_B
    try:
        yield
    finally:
        _keys = before


def uniform(rows: int, count: int, device: torch.device, purpose: int) -> Tensor:
    """(rows, count) float32 in [0, 1), from the rows' keys; from torch's random state where no keys were given."""
    if _keys is None:
        return torch.rand(rows, count, device=device)
    if len(_keys) != rows:
        raise ValueError(f"{rows} rows draw and {len(_keys)} keys were given")
    keys_B1 = _mix(_keys.to(device) + purpose)[:, None]
    words_BN = _mix(keys_B1 + torch.arange(1, count + 1, device=device))
    return ((words_BN >> 40) & 0xFFFFFF).float() * 2.0**-24


def _mix(words: Tensor) -> Tensor:
    """The finisher of splitmix64 (Steele, Lea, Flood 2014) on int64, whose sums and products wrap around."""
    words = words + _signed(0x9E3779B97F4A7C15)
    words = (words ^ _shifted(words, 30)) * _signed(0xBF58476D1CE4E5B9)
    words = (words ^ _shifted(words, 27)) * _signed(0x94D049BB133111EB)
    return words ^ _shifted(words, 31)


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _shifted(words: Tensor, bits: int) -> Tensor:
    """To the right with zeros from the left; torch's own shift repeats the sign."""
    return (words >> bits) & (2 ** (64 - bits) - 1)
