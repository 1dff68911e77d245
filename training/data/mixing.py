"""Several sources mixed by weight: which source's turn it is at each place, exactly in proportion.

The places are cut into cycles of a fixed length. In each cycle every source has its share of the turns, to the last one, in
an order drawn for that cycle; the n-th turn of a source takes the n-th place of its own endless stream. So any place is found
without those before it, and after each cycle the proportions are exact.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import numpy as np

from pipeline.errors import ConfigError
from training.data.order import Integers, Stream, shuffled

LONGEST_CYCLE = 10_000
"""Weights that need a longer cycle to be exact are rounded to one of this length."""


def turns_of(weights: Sequence[float]) -> list[int]:
    """Turns of each source in one cycle: the shortest cycle that is exact, else the largest remainders of LONGEST_CYCLE.

    Raises ConfigError for a weight so small that its source would never have a turn.
    """
    parts = [Fraction(weight).limit_denominator(LONGEST_CYCLE) for weight in weights]
    if all(
        abs(part - Fraction(weight)) <= Fraction(weight) / 10**9 for part, weight in zip(parts, weights, strict=True)
    ):
        scale = lcm(*(part.denominator for part in parts))
        whole = [int(part * scale) for part in parts]
        common = np.gcd.reduce(whole)
        whole = [int(each // common) for each in whole]
        if sum(whole) <= LONGEST_CYCLE:
            return whole
    total = sum(weights)
    exact = [weight / total * LONGEST_CYCLE for weight in weights]
    turns = [int(each) for each in exact]
    by_remainder = sorted(range(len(turns)), key=lambda i: (turns[i] - exact[i], i))
    for i in by_remainder[: LONGEST_CYCLE - sum(turns)]:
        turns[i] += 1
    if 0 in turns:
        number = turns.index(0)
        raise ConfigError(
            f"train.data.sources[{number}].weight {weights[number]:g} is less than a {LONGEST_CYCLE:,}th of all; raise it"
        )
    return turns


class MixedStream:
    """Streams by turns. Sample numbers count on from source to source, so that each is one sample of the whole data."""

    def __init__(
        self, streams: Sequence[Stream], first_parts: Sequence[int], weights: Sequence[float], seed: int
    ) -> None:
        self._streams, self._first_parts, self._seed = streams, first_parts, seed
        sizes = [stream.rows for stream in streams]
        self.rows = sum(sizes)
        self._firsts = np.cumsum(sizes) - sizes
        self._turns = turns_of(weights)
        self._cycle = sum(self._turns)
        self._pattern = np.repeat(np.arange(len(streams)), self._turns)

    def _source_at(self, cycle: int) -> Integers:
        """Whose turn it is at each place of a cycle."""
        return self._pattern[shuffled(self._cycle, "turns", self._seed, cycle)]

    def at(self, start: int, count: int) -> tuple[Integers, Integers]:
        first, last = start // self._cycle, (start + count - 1) // self._cycle
        whose = np.concatenate([self._source_at(cycle) for cycle in range(first, last + 1)])
        skip = start - first * self._cycle
        samples, epochs = np.empty(count, np.int64), np.empty(count, np.int64)
        mine = whose[skip : skip + count]
        for number, stream in enumerate(self._streams):
            places = np.flatnonzero(mine == number)
            if len(places):
                before = first * self._turns[number] + int(np.count_nonzero(whose[:skip] == number))
                found, epochs[places] = stream.at(before, len(places))
                samples[places] = found + self._firsts[number]
        return samples, epochs

    def parts_at(self, place: int, windows: int) -> list[int]:
        parts: list[int] = []
        for number, stream in enumerate(self._streams):
            before = place // self._cycle * self._turns[number]
            parts += [part + self._first_parts[number] for part in stream.parts_at(before, windows)]
        return parts
