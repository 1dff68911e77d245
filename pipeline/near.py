"""Near pairs of 64-bit hashes, complete to a stated Hamming radius, by banding (Manku et al. 2007, section 3).

A hash is cut into 4 bands of 16 bits. Two hashes within radius r differ by at most r // 4 bits in one of the bands
(pigeonhole), so it is enough to look up every band value with up to r // 4 flipped bits: 1 probe per band for r <= 3,
17 for r <= 7, 137 for r <= 11. Only one side has to probe.
"""

from itertools import combinations

import numpy as np

BANDS = 4
BITS = 16


def flips(radius: int) -> np.ndarray:
    """The 16-bit masks with at most radius // 4 bits set, uint64; the empty mask first."""
    masks = [
        sum(1 << bit for bit in bits)
        for count in range(radius // BANDS + 1)
        for bits in combinations(range(BITS), count)
    ]
    return np.array(masks, dtype=np.uint64)


def band_values(hashes: np.ndarray) -> np.ndarray:
    """(N, 4) uint64: the value of each band of each hash, with the band's number above its 16 bits."""
    shifts = np.arange(BANDS, dtype=np.uint64) * np.uint64(BITS)
    values = (hashes[:, None] >> shifts) & np.uint64(0xFFFF)
    return values | (np.arange(BANDS, dtype=np.uint64) << np.uint64(BITS))


def probe_values(hashes: np.ndarray, radius: int) -> np.ndarray:
    """(N, 4 * probes) uint64: every band value that a hash within `radius` must have in at least one band."""
    return (band_values(hashes)[:, :, None] ^ flips(radius)[None, None, :]).reshape(
        len(hashes), BANDS * len(flips(radius))
    )


def join(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (i, j) with left[i] == right[j]: two int64 arrays, ordered by i."""
    order = np.argsort(right, kind="stable")
    ordered = right[order]
    first = np.searchsorted(ordered, left, "left")
    count = np.searchsorted(ordered, left, "right") - first
    i = np.repeat(np.arange(len(left)), count)
    # Position inside each run of equal keys: a running number minus the number at which the run began.
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    return i, order[np.repeat(first, count) + within]


class Clusters:
    """Union-find over strings whose result depends on the edges only, not on their order: a cluster's root is found by
    its smallest member."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def _root(self, name: str) -> str:
        while (parent := self._parent.setdefault(name, name)) != name:
            self._parent[name] = self._parent[parent]
            name = parent
        return name

    def join(self, left: str, right: str) -> None:
        a, b = sorted((self._root(left), self._root(right)))
        self._parent[b] = a

    def members(self) -> dict[str, list[str]]:
        """Root -> sorted members, for clusters of two and more."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._parent):
            found.setdefault(self._root(name), []).append(name)
        return found
