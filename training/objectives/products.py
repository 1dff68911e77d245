"""Logits in pieces: rows against columns, a block of columns at a time, in full float32.

B = rows of this rank, G = columns (samples of all ranks), D = embedding width. A batch of 32,768 on one card has a billion
logits, 4 GB for each way and as much again for its gradient; in pieces they need BLOCK numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

BLOCK = 2**22
"""Logits at once (16 MB). A product of this size keeps a card busy; a CPU's caches do not hold a larger one."""


def blocks(rows: int, columns: int, block: int = 0) -> list[slice]:
    """Columns in pieces of at most `block` (BLOCK where 0) logits each, at least one column wide."""
    wide = max(1, (block or BLOCK) // max(1, rows))
    return [slice(start, min(start + wide, columns)) for start in range(0, columns, wide)]


def own(logits_BC: Tensor, piece: slice, first: int) -> tuple[slice, Tensor]:
    """(rows, a view of their logits) of the pairs in this block that belong together: row b and column `first` + b."""
    low, high = max(piece.start, first), min(piece.stop, first + len(logits_BC))
    high = max(low, high)
    rows = slice(low - first, high - first)
    return rows, logits_BC[rows, low - piece.start : high - piece.start].diagonal()


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 and no autocast: a scale of 100 turns products of 8 or 10 bits into coin flips between close texts."""
    products = torch.backends.cuda.matmul  # the setting of all of torch, in torch's newer form; both forms read it
    before = products.fp32_precision
    if before == "tf32":
        products.fp32_precision = "ieee"
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        if before == "tf32":
            products.fp32_precision = before
