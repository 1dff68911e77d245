"""The compiled inner loop of pipeline/overlap/lookup.py: hashes against a table of hashes by band."""

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled

_PAIRS = np.uint64(0x5555555555555555)
_FOURS = np.uint64(0x3333333333333333)
_BYTES = np.uint64(0x0F0F0F0F0F0F0F0F)
_SUM = np.uint64(0x0101010101010101)


@compiled
def bits_of(x: np.uint64) -> np.uint64:
    """How many bits are set: neighbours added in pairs, fours, bytes, then all bytes by one product."""
    x = x - ((x >> np.uint64(1)) & _PAIRS)
    x = (x & _FOURS) + ((x >> np.uint64(2)) & _FOURS)
    x = (x + (x >> np.uint64(4))) & _BYTES
    return (x * _SUM) >> np.uint64(56)


@compiled
def scan(
    starts: NDArray[np.int64],
    entries: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    rows: int,
    others: NDArray[np.uint64],
    begin: int,
    masks: NDArray[np.int64],
    radius: int,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
) -> tuple[int, int]:
    """Write the pairs (i, j) within `radius` from others[begin] on, until those of one more might not fit.

    The table: row entries[k] with hash hashes[k] for k in starts[slot]..starts[slot + 1]. Returns (where to go on, pairs).
    """
    flipped, limit = np.uint64(radius // 4), np.uint64(radius)
    found = 0
    for place in range(begin, len(others)):
        if len(i) - found < rows:
            return place, found
        for band in range(4):
            value = np.int64((others[place] >> np.uint64(16 * band)) & np.uint64(0xFFFF))
            for mask in masks:
                slot = (band << 16) + (value ^ mask)
                for k in range(starts[slot], starts[slot + 1]):
                    x = others[place] ^ hashes[k]
                    if bits_of(x) > limit:
                        continue
                    first = True  # in no earlier band: a pair is told once
                    for before in range(band):
                        part = (x >> np.uint64(16 * before)) & np.uint64(0xFFFF)
                        if bits_of(part) <= flipped:
                            first = False
                    if first:
                        i[found] = entries[k]
                        j[found] = place
                        found += 1
    return len(others), found
