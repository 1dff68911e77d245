"""What keeps worker processes small and their memory warm: one heap for all threads that keeps what it freed, no pandas."""

import contextlib
import ctypes
import gc
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
_KEPT_BYTES = 64 << 20
"""Free memory at the heap's end that is not given back."""
_MAPPED_BYTES = 32 << 20
"""Blocks from this size on get pages of their own from the kernel, and give them back (the most that glibc takes)."""

ONE_ARENA = "MALLOC_ARENA_MAX"
"""The variable that says so to a process before it starts: threads that have a heap by then keep it."""


def share_arenas() -> None:
    """One heap for all threads from now on: glibc gives each its own, and none of them shrinks.

    100 MB less where pictures go through several threads (measured). And what was freed stays with the process: pictures
    come and go by the megabyte, and to get each page from the kernel again cost 25 page faults a picture (0.03 ms and more
    on a virtual machine; 1 fault since).
    """
    with contextlib.suppress(OSError, AttributeError):  # where there is no glibc, there is nothing to say
        library = ctypes.CDLL(None)
        for option, value in (
            (_M_ARENA_MAX, 1),
            (_M_TRIM_THRESHOLD, _KEPT_BYTES),
            (_M_MMAP_THRESHOLD, _MAPPED_BYTES),
        ):
            library.mallopt(option, value)


def part_arenas() -> None:
    """A heap for each thread again, here and in what is started from here: for a process whose threads compute."""
    os.environ.pop(ONE_ARENA, None)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 8 * (os.cpu_count() or 1))  # glibc's own number


def give_back() -> None:
    """Give the system what this process has freed and kept: for one that from here on waits for others."""
    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class _NoPandas:
    """Finds no pandas (importlib.abc.MetaPathFinder)."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def without_pandas() -> None:
    """Let Arrow believe that there is no pandas, which it imports otherwise to see whether a list is a Series.

    40 MB and 0.3 s of CPU time less. Whoever imports pandas here later has it all the same; only Arrow's `to_pandas` does not.
    """
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])  # it looks once, and remembers
    finally:
        sys.meta_path.remove(_NoPandas)
