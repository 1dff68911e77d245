"""The narrow executor: it maps a function over work items and knows nothing else.

What is finished is remembered on storage (pipeline.execution.ledger, pipeline.fetching.journal), never by an executor, so any of
them can be killed at any time. `InProcess` is for tests and debugging; `pipeline.execution.on_ray.OnRay` is for work.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Idle = Callable[[], None]

IDLE_SECONDS = 1.0


class Executor(Protocol):
    """Runs `function` on every item and yields (position, result) as they finish, in any order.

    `at_once` > 1 is for items that mostly wait: a worker process is kept from item to item and holds up to so many of them
    at the same time, each in a thread of its own, so that they can share what the process has (connections, a decoder).
    `idle` is called about once a second while nothing finishes.
    """

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        at_once: int = 1,
        idle: Idle | None = None,
    ) -> Iterator[tuple[int, Result]]: ...

    def with_resources(self, cpus: float, gpus: float, memory_bytes: int) -> "Executor":
        """The same executor for items that need so much each, where it can set that aside."""
        ...


class InProcess:
    """One item after the other, or `at_once` of them in threads, in this process."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        at_once: int = 1,
        idle: Idle | None = None,
    ) -> Iterator[tuple[int, Result]]:
        if at_once == 1:
            for position, item in enumerate(items):
                yield position, function(item)
            return
        pool = ThreadPoolExecutor(at_once, "items")
        try:
            running: dict[Future[Result], int] = {pool.submit(function, item): i for i, item in enumerate(items)}
            while running:
                done, _ = wait(running, IDLE_SECONDS, FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
                if not done and idle is not None:
                    idle()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after a failure nobody waits for what still runs

    def with_resources(self, cpus: float, gpus: float, memory_bytes: int) -> "InProcess":
        """Itself: one process has what it has."""
        return self
