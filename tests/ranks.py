"""Ranks that are forked from one process which has imported torch and DeepSpeed: each starts in no time, where an interpreter of
its own takes 4 s of processor time. What launchers start is an interpreter of its own: tests/training/test_launchers.py.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["warmed"])


def on_ranks(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """`function(rank, *arguments)` in so many processes; raises what one of them raised."""
    torch.multiprocessing.start_processes(function, args=arguments, nprocs=count, start_method="forkserver")


def started(program: Callable[[], int], words: Sequence[str], place: dict[str, str], said: Path) -> Any:
    """A process in a group of its own that runs `program`, as a main module, with this command line and place among the ranks;
    what it says is in the file `said`."""
    process = CONTEXT.Process(target=_run, args=(program, [str(word) for word in words], place, str(said)))
    process.start()
    return process


def _run(program: Callable[[], int], words: list[str], place: dict[str, str], said: str) -> None:
    os.setsid()
    os.environ.update(place)
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.argv[1:] = words
    sys.exit(program())
