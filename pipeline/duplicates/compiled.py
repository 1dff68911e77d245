"""Inner loops compiled by numba, kept on disk where there is a folder for it, so that only the first process waits.

The union-find here is the idempotent one: a root is the smallest member, so the result depends on the edges alone.
"""
# mypy: allow-untyped-defs

from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def compiled(function: Callable[..., Any]) -> Any:
    """`function` as machine code that releases the interpreter."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder that can be written: each process compiles for itself
        return numba.njit(nogil=True)(function)


@compiled
def root_of(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def unite(parent, i, j):
    """Join the sets of i and j; False where they are one already."""
    a, b = root_of(parent, i), root_of(parent, j)
    if a == b:
        return False
    if a < b:
        parent[b] = a
    else:
        parent[a] = b
    return True


@compiled
def ones(x):
    """Number of set bits of a uint64 (the compiler knows this form and makes one instruction of it)."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
