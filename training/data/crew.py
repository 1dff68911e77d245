"""Who makes the pictures of batches: threads of this process, or processes of their own that write into shared memory.

Both take a range of places and fill rows, so that the loader does not know which it has. Threads do well because decoding and
resizing leave Python's lock; processes are for machines where one lock is not enough (some 10,000 pictures/s per rank).
"""

import json
import mmap
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import DataError
from training.data.pictures import Filled, Pictures
from training.data.resize import Pixels
from training.data.rooms import Rooms
from training.data.sources import Data

CHUNK_ROWS = 32
"""Rows that are asked for at once, at most: small enough to share a batch evenly, large enough to ask seldom."""


HELD = 3
"""Batches that may be held without a copy, beside those in the making and as many that wait: the one that trains, and one on
either side."""
WORKER: tuple[str, ...] = ("-m", "training.data.worker")
"""What Python is told to run as a process."""
PATIENCE_SECONDS = 2.0
"""Until a process that was asked to end is killed."""


def empty_rows(rows: int, size: int) -> Tensor:
    """(rows, 3, size, size) uint8, in memory from which a GPU copies without waiting where there is a GPU."""
    return torch.empty((rows, 3, size, size), dtype=torch.uint8, pin_memory=torch.cuda.is_available())


class Making:
    """A batch that is being made; `wait` gives its rows when they are all there."""

    def __init__(self, rows: Tensor, parts: "list[Future[Filled]]", must_copy: Callable[[], bool]) -> None:
        self._rows, self._parts, self._must_copy = rows, parts, must_copy

    def wait(self) -> tuple[Tensor, Filled]:
        """Once: the rows are the caller's then."""
        parts = [part.result() for part in self._parts]
        rows = self._rows
        del self._rows
        if self._must_copy():
            rows = empty_rows(len(rows), rows.shape[2]).copy_(rows)
        samples = [sample for part in parts for sample in part.samples]
        epochs = [epoch for part in parts for epoch in part.epochs]
        ids = [text for part in parts for text in part.ids or ()] if parts[0].ids is not None else None
        return rows, Filled(samples, epochs, [each for part in parts for each in part.broken], ids)


class Threads:
    """Pictures by threads of this process."""

    def __init__(self, pictures: Pictures, size: int, rows: int, batches: int, threads: int) -> None:
        self._pictures, self._size, self._workers = pictures, size, threads
        self._rooms = Rooms(
            [] if torch.cuda.is_available() else list(np.empty((2 * batches + HELD, rows, 3, size, size), np.uint8))
        )
        self._pool = ThreadPoolExecutor(threads, "pictures")

    def begin(self, start: int, rows: int) -> Making:
        room = self._rooms.take()
        batch = empty_rows(rows, self._size) if room is None else torch.from_numpy(room)
        array = batch.numpy()
        chunk = _chunk_rows(rows, self._workers)
        parts = [
            self._pool.submit(self._pictures.fill, start + first, array[first : first + chunk])
            for first in range(0, rows, chunk)
        ]
        return Making(batch, parts, must_copy=bool)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class Processes:
    """Pictures by processes, each spoken to by a thread here. One that dies is started again and asked once more."""

    def __init__(self, data: Data, job: dict[str, Any], rows: int, batches: int, processes: int) -> None:
        size = int(job["size"])
        self._descriptor, memory = _shared((2 * batches + HELD) * rows * 3 * size * size)
        self._memory: Pixels = np.frombuffer(memory, np.uint8).reshape(-1, rows, 3, size, size)
        self._rooms, self._most_held = Rooms(list(self._memory)), batches + HELD
        self._making, self._workers = 0, processes
        # Reading all data once more in each process is worth it only where some of it is to be left alone.
        verify = data.is_changed
        config = data.config.model_copy(update={"verify_checksums": verify})
        self._job = job | {
            "data": config.model_dump(mode="json"),
            "dataset": data.dataset,
            "descriptor": self._descriptor,
            "share_of_cache": 1 / processes,
        }
        self._id = data.id
        self._free: SimpleQueue[_Child | None] = SimpleQueue()
        self._children: list[_Child] = []
        self._busy = threading.Lock()
        self._closed = False
        for _ in range(processes):
            self._free.put(None)
        self._pool = ThreadPoolExecutor(processes, "pictures")

    def begin(self, start: int, rows: int) -> Making:
        room = self._rooms.take()
        assert room is not None  # `_must_copy` leaves one for each batch that may be in the making
        self._making += 1
        slot = (room.ctypes.data - self._memory.ctypes.data) // room[0].nbytes
        chunk = _chunk_rows(rows, self._workers)
        parts = [
            self._pool.submit(self._ask, slot + first, start + first, min(chunk, rows - first))
            for first in range(0, rows, chunk)
        ]
        return Making(torch.from_numpy(room), parts, self._must_copy)

    def _must_copy(self) -> bool:
        """Of a batch that is made: a GPU cannot copy from shared memory without waiting, and whoever keeps batches keeps copies."""
        self._making -= 1
        return torch.cuda.is_available() or self._rooms.held - self._making > self._most_held

    def _ask(self, row: int, start: int, count: int) -> Filled:
        child, ended = self._free.get(), ""
        try:
            for _ in range(2):
                if child is None:
                    child, ended = self._start()
                if child is None:
                    if self._closed:
                        break
                    continue
                answer = child.ask({"row": row, "start": start, "count": count})
                if answer is not None:
                    if "error" in answer:
                        raise DataError(answer["error"])
                    broken = [(path, reason) for path, reason in answer["broken"]]
                    return Filled(answer["samples"], answer["epochs"], broken, answer["ids"])
                ended, child = child.end(), None
                if self._closed:
                    break
            raise DataError(
                f"train.data.processes: a process that reads pictures ended twice with {ended} at places {start:,} to"
                f" {start + count - 1:,}; out of memory? use fewer processes or a smaller train.data.decoded_cache_mib"
            )
        finally:
            self._free.put(child)

    def _start(self) -> "tuple[_Child | None, str]":
        """A process that is ready; None, and the signal, of one that was killed before it was."""
        child = _Child(self._job)
        with self._busy:
            self._children.append(child)
        said = child.answer()
        if said is not None and said.get("id") == self._id:
            return child, ""
        ended = child.end() if said is None else ""
        if ended.startswith("signal"):
            return None, ended
        reason = (said or {}).get("error", f"it ended with {ended}" if ended else "the data has changed")
        raise DataError(f"train.data.processes: a process that reads pictures cannot start: {reason}")

    def close(self) -> None:
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in self._children:
            child.end()
        self._pool.shutdown()
        os.close(self._descriptor)


class _Child:
    def __init__(self, job: dict[str, Any]) -> None:
        # Processes are many already: the tokenizer in each needs no threads of its own.
        environment = {"TOKENIZERS_PARALLELISM": "false"} | os.environ
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, *WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            pass_fds=(job["descriptor"],),
        )
        self.pid = self._process.pid
        self._tell(job)

    def ask(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """Its answer, None where it has ended."""
        return self.answer() if self._tell(value) else None

    def _tell(self, value: dict[str, Any]) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return found

    def end(self) -> str:
        """How it ended, or is made to end."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            self._process.stdin.close()
        try:
            code = self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@contextmanager
def crew(
    data: Data, pictures: Pictures, job: dict[str, Any], rows: int, batches: int
) -> "Iterator[Threads | Processes]":
    """As the data's config says. `batches`: how many are in hand at most."""
    config = data.config
    workers: Threads | Processes
    if config.processes:
        workers = Processes(data, job, rows, batches, config.processes)
    else:
        workers = Threads(pictures, int(job["size"]), rows, batches, config.threads)
    try:
        yield workers
    finally:
        workers.close()


def _chunk_rows(rows: int, workers: int) -> int:
    return max(1, min(CHUNK_ROWS, -(-rows // workers)))


def _shared(size: int) -> tuple[int, mmap.mmap]:
    """Memory without a name that processes share by its descriptor: it is gone when the last of them is."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("openwit-batches")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor, mmap.mmap(descriptor, size)
