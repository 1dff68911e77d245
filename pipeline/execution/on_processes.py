"""Executor on this machine's processes, without Ray: nothing to start, and 600 MB less memory (Ray's own services).

For one machine only. Processes are kept from one `map` to the next; one that dies is replaced and its items are done again.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from pipeline.errors import DataError
from pipeline.execution.arenas import share_arenas, without_pandas
from pipeline.execution.executor import IDLE_SECONDS, Idle, Item, Result


@dataclass(eq=False)
class _Worker:
    process: Any
    pipe: Connection
    held: set[int] = field(default_factory=set)


class Processes:
    """`count` worker processes (None: one per CPU this process may use); an item whose worker dies is tried `retries` times."""

    def __init__(self, count: int | None = None, retries: int = 3) -> None:
        self.count = count or len(os.sched_getaffinity(0))
        self.retries = retries
        self._workers: list[_Worker] = []

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        at_once: int = 1,
        idle: Idle | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Yields (position, result) in the order of completion. Raises what `function` raised."""
        waiting = list(range(len(items)))[::-1]
        deaths = [0] * len(items)
        whole = False
        try:
            while waiting or any(worker.held for worker in self._workers):
                self._hand_out(function, items, waiting, at_once)
                ready = wait([worker.pipe for worker in self._workers], IDLE_SECONDS)
                if not ready and idle is not None:
                    idle()
                for worker in [each for each in self._workers if each.pipe in ready]:
                    try:
                        position, result, error = worker.pipe.recv()
                    except (EOFError, OSError):
                        for position in self._lost(worker):
                            deaths[position] += 1
                            if deaths[position] > self.retries:
                                raise DataError(
                                    f"work item {position}: its worker process died {self.retries + 1} times"
                                    " (out of memory?); lower the item size, and run again"
                                ) from None
                            waiting.append(position)
                        continue
                    worker.held.discard(position)
                    if error is not None:
                        raise error
                    yield position, result
            whole = True
        finally:
            if not whole:
                self.close()  # what still runs belongs to a map that has failed

    def with_resources(self, cpus: float, gpus: float, memory_bytes: int) -> "Processes":
        """Itself: one machine has what it has."""
        return self

    def close(self) -> None:
        """End the worker processes; the next `map` starts new ones."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def _hand_out(self, function: Callable[[Any], Any], items: Sequence[Any], waiting: list[int], at_once: int) -> None:
        while waiting:
            worker = min(self._workers, key=lambda each: len(each.held), default=None)
            if len(self._workers) < self.count and (worker is None or worker.held):
                worker = self._start()
            assert worker is not None
            if len(worker.held) >= at_once:
                return
            position = waiting.pop()
            worker.held.add(position)
            with contextlib.suppress(OSError):  # it is dead, which the next look at its pipe tells
                worker.pipe.send((position, function, items[position]))

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), name="openwit", daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _lost(self, worker: _Worker) -> list[int]:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        return sorted(worker.held)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _work(pipe: Connection) -> None:
    """A worker's life: items in, results out, several at once in threads; it ends when the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    share_arenas()
    without_pandas()
    sending = threading.Lock()
    threads = ThreadPoolExecutor(64)

    def one(position: int, function: Callable[[Any], Any], item: Any) -> None:
        try:
            answer: tuple[int, Any, BaseException | None] = (position, function(item), None)
        except BaseException as error:
            answer = (position, None, error)
        with sending:
            try:
                pipe.send(answer)
            except OSError:
                os._exit(1)
            except Exception as error:  # what cannot be sent
                pipe.send((position, None, RuntimeError(f"{type(error).__name__}: {error}")))

    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        threads.submit(one, *message)
