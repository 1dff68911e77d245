"""Which rows are near which reference: every pair of 64-bit hashes within a radius, then a verdict by longer descriptors.

Banding as in pipeline/near.py (Manku et al. 2007, section 3), with the rows of one work item in a table of 4 x 65,536
slots and the references streaming past it file by file: complete to the radius, and in memory are one item's rows, one
file of the index and a fixed number of pairs. A reference costs 4 x 17 probes at radius 7, a pair one exclusive or.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.descriptors import thumbnail_distance, thumbnails
from pipeline.near import BANDS, BITS, band_values, flips

PAIRS = 1 << 20
"""Pairs that are held at once, at least; a reference that is near every row of an item needs a place for each."""
LARGEST_RADIUS = 15
"""Largest radius of the first look: 697 probes per band; further out a 64-bit hash says little."""


@dataclass(frozen=True)
class Limits:
    """A pair is near when all three distances are within these: 64 bits, 256 bits, thumbnail (0..255)."""

    radius: int
    radius256: int
    thumbnail_distance: float

    def near(self, bits: NDArray[Any], bits256: NDArray[Any], looks: NDArray[Any]) -> NDArray[np.bool_]:
        return (bits <= self.radius) & (bits256 <= self.radius256) & (looks <= self.thumbnail_distance)


@dataclass(frozen=True)
class Described:
    """N pictures as arrays: hashes (N,) uint64, longs (N, 4) uint64 (256 bits; None where rows have none), looks (N, 192)."""

    hashes: NDArray[np.uint64]
    longs: NDArray[np.uint64] | None
    looks: NDArray[np.uint8]

    @staticmethod
    def of(rows: pa.Table) -> "Described":
        """From columns phash, thumbnail8 and, where there is one, phash256."""
        longs = None
        if "phash256" in rows.column_names:
            joined = b"".join(rows.column("phash256").to_pylist())
            longs = np.frombuffer(joined, np.uint64).reshape(rows.num_rows, 4)
        return Described(
            rows.column("phash").to_numpy().astype(np.uint64), longs, thumbnails(rows.column("thumbnail8").to_pylist())
        )

    def distances(
        self, i: NDArray[np.int64], other: "Described", j: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Bits of 64, bits of 256 (0 where a side has no long hash) and thumbnail distance of the pairs (i, j)."""
        bits = np.bitwise_count(self.hashes[i] ^ other.hashes[j]).astype(np.int64)
        if self.longs is None or other.longs is None:
            bits256 = np.zeros(len(i), np.int64)
        else:
            bits256 = np.bitwise_count(self.longs[i] ^ other.longs[j]).sum(axis=1).astype(np.int64)
        return bits, bits256, thumbnail_distance(self.looks[i], other.looks[j]).astype(np.float32)


class Table:
    """The hashes of N rows by the value of each band, ready to be asked which of them are near others."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        slots = band_values(hashes).ravel(order="F")  # slot = band number above its 16 bits
        order = np.argsort(slots, kind="stable")
        counts = np.bincount(slots.astype(np.int64), minlength=BANDS << BITS)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._entries = np.tile(np.arange(len(hashes), dtype=np.int64), BANDS)[order]
        self._hashes = hashes[self._entries]
        self._rows = len(hashes)

    def pairs(
        self, others: NDArray[np.uint64], radius: int, capacity: int = PAIRS
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Every (i, j) with row i and others[j] within `radius` bits, once, in blocks of about `capacity`."""
        if not self._rows or not len(others):
            return
        size = max(capacity, self._rows)
        from pipeline.scan import scan  # here: numba is not for those who only read a recipe

        masks = flips(radius).astype(np.int64)
        begin = 0
        while begin < len(others):
            i, j = np.empty(size, np.int64), np.empty(size, np.int64)
            begin, found = scan(
                self._starts, self._entries, self._hashes, self._rows, others, begin, masks, radius, i, j
            )
            if found:
                yield i[:found], j[:found]
