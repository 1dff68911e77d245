"""The order of samples, and every random draw of the loader, as functions of numbers.

The whole run is one stream: the dataset in a random order, then again in another, and so on. Step k takes places
[k * G, (k + 1) * G) of it, G being the global batch, and rank r of W takes the r-th of W equal slices. So the order depends
on (seed, epoch, dataset) alone, whatever the number of ranks, and the loader's whole state is one integer: samples seen.
The draws are counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): any one can be had
without those before it.
"""

import hashlib
from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def _key(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:16], "little")


def epoch_order(rows: int, seed: int, epoch: int, manifest_id: str) -> Integers:
    """All of 0 .. rows-1, in the order of this epoch.

    Raw Philox words are sorted instead of asking numpy for a permutation: the words are the same in every version of
    numpy, its permutations need not be (NEP 19).
    """
    words = np.random.Philox(key=_key("order", seed, epoch, manifest_id)).random_raw(rows)
    return np.argsort(words, kind="stable")


def step_seed(seed: int, step: int, rank: int) -> int:
    """For torch's random state at the start of a step, so that what the model draws needs no saving either."""
    return _key("step", seed, step, rank) & (2**63 - 1)


def row_keys(seed: int, start: int, count: int) -> Integers:
    """A key for each row at places start .. start + count - 1 of the stream: what the model draws for it, whichever rank
    has it (training/models/draws.py)."""
    stem = np.uint64(_key("row", seed) & (2**64 - 1))
    words = _mix(_mix(stem) ^ np.arange(start, start + count, dtype=np.uint64))
    return np.asarray(words).view(np.int64)


class SampleStream:
    """Which sample stands at a place of the stream, and in which epoch."""

    def __init__(self, rows: int, seed: int, manifest_id: str) -> None:
        self.rows = rows
        self._seed = seed
        self._manifest_id = manifest_id
        self._epoch = -1
        self._order: Integers = np.empty(0, np.int64)

    def at(self, start: int, count: int) -> tuple[Integers, Integers]:
        """(sample, epoch) for the places start .. start + count - 1, which may reach over the end of an epoch."""
        samples, epochs = np.empty(count, np.int64), np.empty(count, np.int64)
        done = 0
        while done < count:
            epoch, offset = divmod(start + done, self.rows)
            if epoch != self._epoch:
                self._order, self._epoch = epoch_order(self.rows, self._seed, epoch, self._manifest_id), epoch
            take = min(count - done, self.rows - offset)
            samples[done : done + take] = self._order[offset : offset + take]
            epochs[done : done + take] = epoch
            done += take
        return samples, epochs


def picture_draws(seed: int, samples: Integers, epochs: Integers, count: int) -> Floats:
    """(N, count) numbers in [0, 1): a function of seed, epoch and sample, the same on whichever rank it is asked."""
    stem = np.uint64(_key("picture", seed) & (2**64 - 1))
    places = _mix(_mix(stem ^ samples.astype(np.uint64)) + epochs.astype(np.uint64))
    words = np.stack([_mix(places + np.uint64(draw)) for draw in range(1, count + 1)], axis=1)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(words: Any) -> Any:
    """The finisher of splitmix64 (Steele, Lea, Flood 2014): each bit in changes half of the bits out."""
    with np.errstate(over="ignore"):
        words = words + np.uint64(0x9E3779B97F4A7C15)
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))
