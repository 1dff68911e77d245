"""The narrow executor: it maps a function over work items and knows nothing else.

What is finished is remembered by the ledger, never by an executor, so any of them can be killed at any time.
`InProcess` is for tests and debugging; `pipeline.on_ray.OnRay` is for work.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs `function` on every item and yields (position, result) as they finish, in any order."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]: ...

    def with_resources(self, cpus: float, gpus: float, memory_bytes: int) -> "Executor":
        """The same executor for items that need so much each, where it can set that aside."""
        ...


class InProcess:
    """One item after the other, in this process."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        for position, item in enumerate(items):
            yield position, function(item)

    def with_resources(self, cpus: float, gpus: float, memory_bytes: int) -> "InProcess":
        """Itself: one process has what it has."""
        return self
