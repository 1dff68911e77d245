"""The order of samples, and every random draw of the loader, as functions of numbers.

The whole run is one stream: the data in a random order, then again in another, and so on. Step k takes places
[k * G, (k + 1) * G) of it, G being the global batch, and rank r of W takes the r-th of W equal slices. So the order depends
on (seed, epoch, data) alone, whatever the number of ranks, and the loader's whole state is one integer: samples seen.
The draws are counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): any one can be had
without those before it.

The shuffle has two levels. Parts (shards) are shuffled; then, in that order, windows of parts are filled until each holds
`window` samples, and the samples of a window are shuffled. So any place is found in the time and memory of one window, and
what lies far apart on storage is not read together. One window that holds everything is a full shuffle.
"""

import bisect
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

WINDOW = 1 << 18


def _key(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:16], "little")


def shuffled(count: int, *key: object) -> Integers:
    """All of 0 .. count-1 in the order that `key` names.

    Raw Philox words are sorted instead of asking numpy for a permutation: the words are the same in every version of
    numpy, its permutations need not be (NEP 19).
    """
    words = np.random.Philox(key=_key(*key)).random_raw(count)
    return np.argsort(words, kind="stable")


def epoch_order(rows: int, seed: int, epoch: int, manifest_id: str) -> Integers:
    """The full shuffle of 0 .. rows-1 in this epoch."""
    return shuffled(rows, "order", seed, epoch, manifest_id)


def step_seed(seed: int, step: int, rank: int) -> int:
    """For torch's random state at the start of a step, so that what the model draws needs no saving either."""
    return _key("step", seed, step, rank) & (2**63 - 1)


def row_keys(seed: int, start: int, count: int) -> Integers:
    """A key for each row at places start .. start + count - 1 of the stream: what the model draws for it, whichever rank
    has it (training/models/draws.py)."""
    stem = np.uint64(_key("row", seed) & (2**64 - 1))
    words = _mix(_mix(stem) ^ np.arange(start, start + count, dtype=np.uint64))
    return np.asarray(words).view(np.int64)


class Stream(Protocol):
    """Places 0, 1, 2, ... without end, and which sample stands at each."""

    rows: int
    """Samples in one epoch."""

    def at(self, start: int, count: int) -> tuple[Integers, Integers]:
        """(sample, epoch) for the places start .. start + count - 1, which may reach over the end of an epoch."""
        ...

    def parts_at(self, place: int, windows: int) -> list[int]:
        """Parts that the window of `place` and those after it take from, `windows` in all, in the order of need."""
        ...


@dataclass(frozen=True)
class _Windows:
    """One epoch's windows: window w takes the parts order[edges[w] : edges[w + 1]] and the places from starts[w] on."""

    order: Integers
    edges: list[int]
    starts: list[int]


class SampleStream:
    """One dataset, passed over again and again. `part_rows` are its parts' sizes (None: it is one part)."""

    def __init__(
        self, rows: int, seed: int, manifest_id: str, part_rows: Sequence[int] | None = None, window: int = WINDOW
    ) -> None:
        self.rows = rows
        self._key = (seed, manifest_id)
        self._sizes = np.asarray([rows] if part_rows is None else part_rows, np.int64)
        self._firsts = np.cumsum(self._sizes) - self._sizes
        self._window = window
        self._epochs: dict[int, _Windows] = {}
        self._orders: dict[tuple[int, int], Integers] = {}
        self._busy = threading.Lock()

    def at(self, start: int, count: int) -> tuple[Integers, Integers]:
        samples, epochs = np.empty(count, np.int64), np.empty(count, np.int64)
        done = 0
        while done < count:
            epoch, offset = divmod(start + done, self.rows)
            windows = self._windows(epoch)
            number = bisect.bisect_right(windows.starts, offset) - 1
            order = self._order(epoch, number)
            offset -= windows.starts[number]
            take = min(count - done, len(order) - offset)
            samples[done : done + take] = order[offset : offset + take]
            epochs[done : done + take] = epoch
            done += take
        return samples, epochs

    def parts_at(self, place: int, windows: int) -> list[int]:
        epoch, offset = divmod(place, self.rows)
        number = bisect.bisect_right(self._windows(epoch).starts, offset) - 1
        parts: list[int] = []
        for _ in range(windows):
            here = self._windows(epoch)
            parts += here.order[here.edges[number] : here.edges[number + 1]].tolist()
            epoch, number = (epoch, number + 1) if number + 2 < len(here.edges) else (epoch + 1, 0)
        return list(dict.fromkeys(parts))

    def _windows(self, epoch: int) -> _Windows:
        with self._busy:
            if epoch not in self._epochs:
                order = np.arange(len(self._sizes))
                if self.rows > self._window:
                    order = shuffled(len(self._sizes), "parts", self._key[0], epoch, self._key[1])
                edges, starts, filled, begun = [0], [0], 0, 0
                for place, size in enumerate(self._sizes[order].tolist(), 1):
                    filled += size
                    if filled - begun >= self._window and filled < self.rows:
                        edges.append(place)
                        starts.append(filled)
                        begun = filled
                edges.append(len(order))
                self._epochs = {key: self._epochs[key] for key in self._epochs if key == epoch - 1}
                self._epochs[epoch] = _Windows(order, edges, starts)
            return self._epochs[epoch]

    def _order(self, epoch: int, number: int) -> Integers:
        """The samples of a window, shuffled."""
        windows = self._windows(epoch)
        with self._busy:
            if (epoch, number) not in self._orders:
                parts = np.sort(windows.order[windows.edges[number] : windows.edges[number + 1]])
                inside = np.concatenate([np.arange(size) + first for size, first in self._spans(parts)])
                words = ("order", self._key[0], epoch, self._key[1]) + ((number,) if number else ())
                # The one before is kept: batches that are made at the same time lie on both sides of an edge.
                last = next(reversed(self._orders), None)
                self._orders = {last: self._orders[last]} if last is not None else {}
                self._orders[epoch, number] = inside[shuffled(len(inside), *words)]
            return self._orders[epoch, number]

    def _spans(self, parts: Integers) -> list[tuple[int, int]]:
        return list(zip(self._sizes[parts].tolist(), self._firsts[parts].tolist(), strict=True))


def picture_draws(seed: int, samples: Integers, epochs: Integers, count: int, purpose: str = "picture") -> Floats:
    """(N, count) numbers in [0, 1): a function of seed, epoch and sample, the same on whichever rank it is asked.

    Draws for another `purpose` have nothing to do with these.
    """
    stem = np.uint64(_key(purpose, seed) & (2**64 - 1))
    places = _mix(_mix(stem ^ samples.astype(np.uint64)) + epochs.astype(np.uint64))
    words = _mix(places[:, None] + np.arange(1, count + 1, dtype=np.uint64))
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(words: Any) -> Any:
    """The finisher of splitmix64 (Steele, Lea, Flood 2014): each bit in changes half of the bits out."""
    with np.errstate(over="ignore"):
        words = words + np.uint64(0x9E3779B97F4A7C15)
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))
