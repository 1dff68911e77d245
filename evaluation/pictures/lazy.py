"""Values that are made at first use: by one of many threads, and anew in every process that a list of pictures is sent to."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """What `make` gives, made once."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock = threading.Lock()

    def get(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return Lazy, (self._make,)


class Latest(Generic[T]):
    """What `make` gives for some arguments, the latest `count` kept."""

    def __init__(self, make: Callable[..., T], count: int) -> None:
        self._make, self._count = make, count
        self._kept: OrderedDict[tuple[Hashable, ...], T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, *arguments: Hashable) -> T:
        with self._lock:
            if arguments not in self._kept:
                self._kept[arguments] = self._make(*arguments)
                if len(self._kept) > self._count:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(arguments)
            return self._kept[arguments]

    def __reduce__(self) -> tuple[Any, ...]:
        return Latest, (self._make, self._count)
