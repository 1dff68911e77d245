"""All near pairs of 64-bit hashes, complete to a stated Hamming radius, by banding (Manku et al. 2007, section 3).

A hash is cut into 4 bands of 16 bits. Two hashes within radius r differ by at most f = r // 4 bits in one of the bands
(pigeonhole), so hashes meet by band value with up to f flipped bits: 1 probe per band for r <= 3, 17 for r <= 7, 137 for
r <= 11, 697 for r <= 15. A pair is looked at once: in the first band that it shares, from its smaller value.

Partitions: hashes may be cut by (band, high bits of the band's value). A row is at home in one partition of each band and
visits the partitions with a larger number that a flip of high bits leads to, so no pair is lost between two of them.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.duplicates.looks import Looks
from pipeline.duplicates.loops import COUNT, LIST, MARK, NEAREST, UNITE, search_loop
from pipeline.pictures.descriptors import hamming

BANDS = 4
BITS = 16


def flips(bits: int, most: int) -> np.ndarray:
    """Masks of `bits` bits with at most `most` set, fewest first: uint64."""
    masks = [
        sum(1 << bit for bit in chosen)
        for count in range(min(most, bits) + 1)
        for chosen in combinations(range(bits), count)
    ]
    return np.array(masks, dtype=np.uint64)


def band_values(hashes: np.ndarray, band: int) -> np.ndarray:
    """(N,) int64: 16 bits of each hash."""
    return ((hashes >> np.uint64(band * BITS)) & np.uint64(0xFFFF)).astype(np.int64)


def partitions(hashes: np.ndarray, radius: int, high_bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, partition, home) int64, int64, bool: where each of N hashes is at home, and which partitions it visits."""
    rows, keys, homes = [], [], []
    everyone = np.arange(len(hashes))
    for band in range(BANDS):
        high = band_values(hashes, band) >> (BITS - high_bits)
        for number, mask in enumerate(flips(high_bits, radius // BANDS).astype(np.int64)):
            there = everyone if number == 0 else np.flatnonzero((high ^ mask) > high)
            rows.append(there)
            keys.append((band << high_bits) | (high[there] ^ mask))
            homes.append(np.full(len(there), number == 0))
    return np.concatenate(rows), np.concatenate(keys), np.concatenate(homes)


def search(
    hashes: np.ndarray,
    home: np.ndarray,
    partition: int,
    high_bits: int,
    radius: int,
    mode: int,
    looks: Looks | None = None,
    ours: np.ndarray | None = None,
) -> np.ndarray:
    """Look at every pair of one partition within the radius that belongs to it.

    MARK   (N,) bool: rows that have a partner
    COUNT  (1,) int64: number of pairs
    LIST   (P, 2) int64: the pairs
    UNITE  (E, 2) int64: at most N - 1 of the pairs, which connect what all of them connect

    Only pairs that `looks` verifies count, where they are given, and with `ours` (N,) bool only those of two sides (MARK).
    """
    walk = _Walk.of(hashes, home, partition, high_bits, radius)
    if mode == MARK:
        marks = np.zeros(len(hashes), bool)
        sides = None if ours is None else (ours[walk.order], np.zeros(0, np.int64))
        walk.run(MARK, looks=looks, marks=marks, sides=sides)
        return walk.back(marks)
    count = walk.run(COUNT, looks=looks) if mode in (COUNT, LIST) else max(0, len(hashes) - 1)
    if mode == COUNT:
        return np.array([count])
    found = np.zeros((count, 2), np.int64)
    count = walk.run(mode, looks=looks, found=found)
    return walk.order[found[:count]].reshape(-1, 2)


def nearest(
    hashes: np.ndarray,
    home: np.ndarray,
    partition: int,
    high_bits: int,
    radius: int,
    looks: Looks,
    ours: np.ndarray,
    rank: np.ndarray,
) -> np.ndarray:
    """(N,) int64: for each of our rows the nearest of the others that `looks` verifies, equals by rank; else -1."""
    walk = _Walk.of(hashes, home, partition, high_bits, radius)
    best = np.full((len(hashes), 2), -1)
    walk.run(NEAREST, looks=looks, found=best, sides=(ours[walk.order], rank[walk.order]))
    result = walk.back(best[:, 0])
    there = result >= 0
    result[there] = walk.order[result[there]]
    return result


@dataclass(frozen=True)
class _Walk:
    """One partition, prepared: rows in the order of their low bits, residents before visitors."""

    order: np.ndarray
    hashes: np.ndarray
    low: np.ndarray
    starts: np.ndarray
    """Where each value of the low bits begins among the residents."""
    masks: np.ndarray
    ends: np.ndarray
    """How many masks have at most 0, 1, 2, ... bits."""
    spent: np.ndarray
    """Flips that each visitor has used up on its high bits."""
    place: tuple[int, int, int, int]

    @staticmethod
    def of(hashes: np.ndarray, home: np.ndarray, partition: int, high_bits: int, radius: int) -> "_Walk":
        band, high = partition >> high_bits, partition & ((1 << high_bits) - 1)
        width, most = BITS - high_bits, radius // BANDS
        values = band_values(hashes, band)
        low = values & ((1 << width) - 1)
        residents, visitors = np.flatnonzero(home), np.flatnonzero(~home)
        residents = residents[np.argsort(low[residents], kind="stable")]
        order = np.concatenate([residents, visitors])
        masks = flips(width, most)
        set_bits = np.array([int(mask).bit_count() for mask in masks])
        spent = hamming(((values[visitors] >> width) ^ high).astype(np.uint64), np.zeros(1, np.uint64)).astype(np.int64)
        return _Walk(
            order,
            hashes[order],
            low[order],
            np.searchsorted(low[residents], np.arange((1 << width) + 1)),
            masks.astype(np.int64),
            np.searchsorted(set_bits, np.arange(most + 1), side="right"),
            spent,
            (band, radius, len(residents), most),
        )

    def back(self, values: np.ndarray) -> np.ndarray:
        """Values of the rows in this order, in the order that they were given in."""
        result = np.empty_like(values)
        result[self.order] = values
        return result

    def run(
        self,
        mode: int,
        looks: Looks | None = None,
        marks: np.ndarray | None = None,
        found: np.ndarray | None = None,
        sides: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> int:
        """Number of pairs, or of edges; `marks` and `found` are filled as the mode says."""
        seen = looks.take(self.order) if looks is not None else Looks.nothing()
        no = np.zeros(0, bool)
        return int(
            search_loop(
                self.hashes, self.low, self.starts, self.masks, self.ends, self.spent, self.place, mode,
                no if marks is None else marks, np.zeros((0, 2), np.int64) if found is None else found,
                np.arange(len(self.hashes) if mode == UNITE else 0), *(sides or (no, np.zeros(0, np.int64))),
                seen.thumbnails, seen.has_thumbnail, seen.longer, seen.has_longer,
                seen.limits,
            )
        )  # fmt: skip


def near_pairs(hashes: np.ndarray, radius: int, looks: Looks | None = None) -> np.ndarray:
    """(P, 2) int64, each i < j, sorted: every pair of N hashes within the radius, each once. For what fits in memory."""
    home = np.ones(len(hashes), bool)
    found = [search(hashes, home, band, 0, radius, LIST, looks) for band in range(BANDS)]
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
