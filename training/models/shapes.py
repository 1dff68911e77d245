"""A model of shapes alone, to load weights into: nothing is drawn, nothing takes memory.

torch's meta device does that by itself, but its random draws are Python, and the first one imports torch's compiler: a second of
CPU time in every process that opens a checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset({"normal_", "uniform_", "fill_", "zero_"})


class _NoDraws(TorchFunctionMode):
    """Leaves tensors as they are that would be filled: on the meta device they hold nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWS:  # torch.nn.init hands everything on by name
            return args[0] if args else named["tensor"]
        return func(*args, **named)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Models that are built meanwhile have shapes and no values: all are to be loaded, then `reset_constants()`."""
    with torch.device("meta"), _NoDraws():
        yield
