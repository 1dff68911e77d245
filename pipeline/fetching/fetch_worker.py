"""The worker process of a fetch: one event loop, one set of connections (TLS context, DNS answers, keep-alive), one decoder.

`run_lane` is called in a thread for each lane that the process has under way; they share its worker, which is made with the
first and goes with the last.
"""

import asyncio
import contextlib
import gc
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pipeline.execution.arenas import share_arenas
from pipeline.fetching.decoding import Decoder
from pipeline.fetching.dispatch import OPEN_PER_PLACE, Dispatcher
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.fetching.lane import Lane, LaneWork
from pipeline.fetching.standing import Standing
from pipeline.web.network import Network
from pipeline.web.web_config import NetworkConfig

Value = TypeVar("Value")

BYTES_IN_MEMORY = 16_000_000
"""Downloaded and not decoded, or decoded and not written: above this no download is begun."""

ROWS_WAITING = 1024
"""Rows of all lanes that may wait to be written: what a kill costs at most, but for what is under way. With 24 lanes the files
then have some 85 rows, 2.5 MB of pictures of 256 px."""


GC_OBJECTS = 10_000
"""New objects that hold others (Python's own number: 700) before one looks for rings of them: rows that wait to be written are
thousands, and no rings."""


class Worker:
    """What the lanes of a process share. Made and used inside its event loop."""

    def __init__(self, config: FetchConfig, network: NetworkConfig) -> None:
        self.network = Network(network, open_at_once=OPEN_PER_PLACE * network.concurrency, patient=False)
        self.standing = Standing(config, network)
        self.bytes_unwritten = 0
        self.learned: dict[Lane, list[str]] = {}
        """Origins whose site files a lane has yet to write."""
        self.numbers = itertools.count()
        """Lanes by age."""
        self._config = config
        self._threads = ThreadPoolExecutor(2, "storage")
        self._lanes: set[Lane] = set()

    async def __aenter__(self) -> "Worker":
        await self.network.__aenter__()
        self.dispatcher = Dispatcher(
            self.network.config,
            self.network.attempt,
            self.network.manners.interval_seconds,
            lambda: self.decoder.bytes_waiting + self.bytes_unwritten < BYTES_IN_MEMORY,
        )
        self.dispatcher.failed = self._failed
        self.decoder = Decoder(self._config.picture_header(), self.dispatcher.pump)
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.dispatcher.close()
        await self.decoder.close()
        await self.network.__aexit__(None, None, None)
        self._threads.shutdown(wait=False)

    async def run(self, work: LaneWork) -> None:
        lane = Lane(work, self)
        self._lanes.add(lane)
        try:
            await lane.run()
        finally:
            self._lanes.discard(lane)

    async def in_thread(self, work: Callable[[], Value]) -> Value:
        """Storage work, away from the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def write_fullest(self) -> None:
        """Have the lane with the most rows written, where ROWS_WAITING wait in all."""
        if sum(lane.waiting for lane in self._lanes) >= ROWS_WAITING:
            max(self._lanes, key=lambda lane: lane.waiting).flush()

    def _failed(self, error: BaseException) -> None:
        for lane in self._lanes:
            lane.fail(error)


class _Process:
    """This process's worker, and how many lanes use it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.key: Any = None
        self.loop: asyncio.AbstractEventLoop
        self.worker: Worker
        self.calls: set[Any] = set()

    @contextlib.contextmanager
    def using(self, config: FetchConfig, network: NetworkConfig) -> Iterator[None]:
        key = (os.getpid(), config, network)
        with self.lock:
            if self.users and self.key != key:
                raise RuntimeError("one fetch at a time in a process")
            if not self.users:
                self.key = key
                self._begin(config, network)
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if not self.users:
                    self._end()

    def call(self, work: Any) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        self.calls.add(future)
        try:
            return future.result()
        finally:
            self.calls.discard(future)

    def _begin(self, config: FetchConfig, network: NetworkConfig) -> None:
        share_arenas()
        gc.freeze()  # what is imported stays: no collection needs to look through it again
        self.gc_thresholds = gc.get_threshold()
        gc.set_threshold(GC_OBJECTS)
        # The decoder's thread must not wait 5 ms for the interpreter each time that its child has answered.
        self.switch_seconds = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="fetch", daemon=True).start()

        async def begin() -> Worker:
            return await Worker(config, network).__aenter__()

        self.worker = self.call(begin())

    def _end(self) -> None:
        sys.setswitchinterval(self.switch_seconds)
        gc.set_threshold(*self.gc_thresholds)
        gc.unfreeze()
        self.call(self.worker.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)


_process = _Process()


def run_lane(config: FetchConfig, network: NetworkConfig, work: LaneWork) -> None:
    """Settle every URL of a lane, in this process's worker."""
    with _process.using(config, network):
        _process.call(_process.worker.run(work))


def abandon() -> None:
    """End the lanes of this process: the fetch they belong to has failed."""
    for future in list(_process.calls):
        future.cancel()
