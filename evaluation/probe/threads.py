"""Threads for products: as many as torch may use, each with one torch thread inside.

Products this small lose more time at the barriers between torch's own threads than they gain, a hundredfold on a busy machine.
Work is cut up by what it is alone and its results come in order, so that sums are the same bits for any number of threads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Part = TypeVar("Part")
Found = TypeVar("Found")


class Threads:
    """`count` threads, which are started when they are first needed; with one, work is done where it is asked for."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def map(self, work: Callable[[Part], Found], parts: Sequence[Part]) -> Iterable[Found]:
        """`work` of each part, in their order; an error in one is raised."""
        if self.count == 1 or len(parts) == 1:
            return map(work, parts)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, initializer=torch.set_num_threads, initargs=(1,))
        return self._pool.map(work, parts)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


@contextmanager
def one_thread_each() -> Iterator[Threads]:
    """Inside, torch uses one thread; gives as many threads as it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    threads = Threads(before)
    try:
        yield threads
    finally:
        threads.close()
        torch.set_num_threads(before)
