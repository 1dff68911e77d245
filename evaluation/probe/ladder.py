"""CLIP's search for the penalty (Radford et al. 2021, arXiv:2103.00020, A.3).

lambda = 1/C lies on a grid of 97 points from 1e-6 to 1e6, eight per decade. Seven fits find the best of every second decade;
then the best point's neighbours at distance 8, 4, 2 and 1 are tried, so 15 fits at most.

The paper says "the peak" and not what is taken where several penalties do equally well, which a validation part of hundreds of
pictures makes common; anchors differ too (CoOp's keeps the larger end). Here the middle of the plateau is the peak (`peak`): it is
the farthest from where the curve falls on either side, and where all penalties do alike it is 1, not an end of the grid, under
which a probe may rank pictures well and call them wrongly.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

GRID = np.logspace(-6, 6, 97)
DISTANCES = (8, 4, 2, 1)
SLACK = 0.003
"""What a fit's value on the validation part may be off while the fit is only near its optimum."""


class Search:
    """One search, asked round by round: `wanted()` are the positions to try next, `tell` what they gave."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {}
        self._distances = list(DISTANCES)

    @property
    def best(self) -> int:
        return peak(self.values)

    def wanted(self) -> list[int]:
        """Positions not tried yet; empty when the search is over."""
        if not self.values:
            return list(range(0, len(GRID), 16))
        while self._distances:
            distance = self._distances.pop(0)
            near = [position for position in (self.best - distance, self.best + distance) if 0 <= position < len(GRID)]
            if fresh := [position for position in near if position not in self.values]:
                return fresh
        return []

    def tell(self, positions: Sequence[int], values: Sequence[float]) -> None:
        self.values.update(zip(positions, values, strict=True))


def peak(values: Mapping[int, float]) -> int:
    """The position of the best value; of equal ones the middle of the longest run that no worse one lies in, the larger of two."""
    best, runs = max(values.values()), [list[int]()]
    for position in sorted(values):
        if values[position] == best:
            runs[-1].append(position)
        elif runs[-1]:
            runs.append([])
    longest = max(runs, key=lambda run: (len(run), run))
    middle = (longest[0] + longest[-1]) / 2
    return min(longest, key=lambda position: (abs(position - middle), -position))


def contenders(values: Mapping[int, float], settled: Collection[int], pictures: int) -> list[int]:
    """Positions that are not settled and might turn out the best if they were solved further: those within SLACK of the best
    and two of the validation part's pictures. None where one is alone; nothing beats a value of 1."""
    best = peak(values)
    least = values[best] - SLACK - 2 / pictures
    near = [best] if values[best] >= 1 else [at for at, value in values.items() if value >= least]
    alone = sum(value >= least for value in values.values()) == 1
    return [] if alone else [at for at in near if at not in settled]


def search_grid(evaluate: Callable[[list[int]], list[float]]) -> tuple[int, dict[int, float]]:
    """A whole search: the best position of GRID and what each tried one gave; each round is asked at once."""
    search = Search()
    while positions := search.wanted():
        search.tell(positions, evaluate(positions))
    return search.best, search.values
