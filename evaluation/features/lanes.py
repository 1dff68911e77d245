"""Pictures through a model in units: squares are made by readers and by lanes, and each lane runs the model on one unit.

On a CPU several lanes of one torch thread each take units side by side. One forward over all cores costs more than as many
small ones: its threads wait for each other at every layer, longest where readers hold a core, and arrays of a whole batch are
got from the kernel page by page each time (glibc maps what is above 32 MiB). Measured on two cores: 1.5 s of CPU time for 1,312
pictures of 224 pixels through a tiny tower in batches of 64, 0.6 s in units of 16; ViT-B/32 takes a tenth less.

A unit's rows are fixed by the list alone, so the same features come out for any number of lanes and readers.
V = variants, U = pictures of a unit, S = side in pixels.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.data.resize import Pixels

MOST_BYTES = 2 << 30
"""Of squares that wait or are worked on, where more than two units are."""

T = TypeVar("T")


class Unit:
    """Squares (V, U, 3, S, S) of some rows: whoever has time makes the next one."""

    def __init__(self, rows: range, variants: int, side: int) -> None:
        self.rows = rows
        self.squares = np.empty((variants, len(rows), 3, side, side), np.uint8)
        self._left = deque(range(len(rows)))
        self._errors: dict[int, Exception] = {}

    def fill(self, make: Callable[[int, Pixels], None]) -> None:
        """Make squares until none is left to begin; after an error no more are begun."""
        while True:
            try:
                place = self._left.popleft()
            except IndexError:
                return
            try:
                make(self.rows[place], self.squares[:, place])
            except Exception as error:  # the lane raises it
                self._errors[place] = error
                self.drop()

    def check(self) -> None:
        """Raise the error of the first picture that had one: all before it were begun, and are done by now."""
        if self._errors:
            raise self._errors[min(self._errors)]

    def drop(self) -> None:
        self._left.clear()


class Lanes(Generic[T]):
    """`make(index, out)` fills one picture's squares (V, 3, S, S), `run(squares)` is the model. Both must bear threads."""

    def __init__(
        self,
        make: Callable[[int, Pixels], None],
        run: Callable[[NDArray[np.uint8]], T],
        readers: int,
        lanes: int,
    ) -> None:
        self._make, self._run, self._readers, self._lanes = make, run, readers, lanes

    def through(self, units: Sequence[range], variants: int, side: int) -> Iterator[tuple[range, T]]:
        """(rows, what the model gave) of each unit, in order. Raises what the first broken picture raised."""
        waiting: deque[tuple[Unit, Future[T]]] = deque()
        with ThreadPoolExecutor(self._readers, "decode") as readers, ThreadPoolExecutor(self._lanes, "lane") as lanes:
            try:
                for rows in units:
                    unit = Unit(rows, variants, side)
                    waiting.append((unit, lanes.submit(self._lane, unit, self._read_ahead(readers, unit))))
                    if len(waiting) > min(self._lanes, max(1, MOST_BYTES // unit.squares.nbytes)):
                        yield self._finished(waiting)
                while waiting:
                    yield self._finished(waiting)
            finally:
                for unit, future in waiting:
                    future.cancel()
                    unit.drop()

    def _read_ahead(self, readers: ThreadPoolExecutor, unit: Unit) -> list[Future[None]]:
        return [readers.submit(unit.fill, self._make) for _ in range(min(self._readers, len(unit.rows)))]

    def _lane(self, unit: Unit, helpers: Sequence[Future[None]]) -> T:
        unit.fill(self._make)
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        unit.check()
        return self._run(unit.squares)

    @staticmethod
    def _finished(waiting: deque[tuple[Unit, Future[T]]]) -> tuple[range, T]:
        unit, future = waiting.popleft()
        return unit.rows, future.result()
