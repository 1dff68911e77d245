"""One lane of a fetch: its URLs, part by part, through the dispatcher and the decoder into the journal.

A lane can be killed anywhere and begun again: what its journal holds is not asked for again. Many lanes share one worker
(pipeline.fetching.fetch_worker), which owns the connections, the decoder and the event loop.
"""

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.fetching.dispatch import Job, Result
from pipeline.fetching.journal import Journal, host_in
from pipeline.fetching.located import locations
from pipeline.web.answer import Fetched
from pipeline.web.taxonomy import is_passing, met
from pipeline.web.urls import origin_of

if TYPE_CHECKING:
    from pipeline.fetching.fetch_worker import Worker

SEGMENT_ROWS = 256
SEGMENT_BYTES = 4_000_000
SEGMENT_SECONDS = 20.0
AHEAD = 2048
"""URLs of a lane that wait in memory, so that there are many hosts to choose from."""
TELL_SECONDS = 1.0


@dataclass(frozen=True)
class LaneWork:
    """What a lane is made of: files with columns url and location, and where to write."""

    lane: int
    lanes: int
    parts: tuple[str, ...]
    round: int
    store: str
    progress: str
    """File that tells how far the lane is."""


class Lane:
    """Runs once, in the worker's event loop."""

    def __init__(self, work: LaneWork, worker: "Worker") -> None:
        self._work, self._worker, self._number = work, worker, next(worker.numbers)
        self._journal = Journal(work.store, work.lanes, work.lane, worker.standing)
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._writes: set[asyncio.Task[None]] = set()
        self._open: dict[str, int] = {}  # URL -> rows that wait for it
        self._fewer = asyncio.Event()
        self._known_sites: set[str] = set()
        self._done = 0
        self._counts: Counter[str] = Counter()
        self._failure: BaseException | None = None
        self._ended = False

    async def run(self) -> None:
        """Settle every URL of the lane. Raises what went wrong in us; whatever the world does is in the journal."""
        for files in await self._worker.in_thread(self._journal.sites):
            self._worker.network.manners.files.give(files)
            self._known_sites.add(files.origin)
        clock = asyncio.ensure_future(self._clock())
        try:
            for path in self._work.parts:
                await self._add_part(path)
                await self._until(AHEAD)
            await self._until(0)
            self.flush()
            while self._writes:
                await asyncio.gather(*self._writes)
            await self._worker.in_thread(self._tell)
        finally:
            self._ended = True
            clock.cancel()
            for task in self._writes:
                task.cancel()
        self._raise()

    def fail(self, error: BaseException) -> None:
        """End the lane with this error."""
        self._failure = self._failure or error
        self._fewer.set()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _add_part(self, path: str) -> None:
        urls, states = await self._worker.in_thread(lambda: self._part(path))
        for url, rows in urls.items():
            state = states.get(url)
            if state is not None and state.settled:
                self._done += rows
                continue
            self._open[url] = rows
            due = max(0.0, (state.next_retry or 0.0) - time.time()) if state is not None else 0.0
            job = Job(url, self._tried, state.attempts if state is not None else 0)
            host = host_in(url) or url
            due = min(due, self._worker.network.config.max_retry_wait_seconds)
            self._worker.dispatcher.add(host, job, due, self._number)
        self._worker.dispatcher.pump()

    def _part(self, path: str) -> tuple[Counter[str], dict[str, Any]]:
        rows = storage.read_table(path)
        places = locations(rows)
        urls = Counter(
            url for url, place in zip(rows.column("url").to_pylist(), places, strict=True) if place["location"] is None
        )
        self._done += rows.num_rows - urls.total()
        return urls, self._journal.states(urls, self._work.round)

    async def _until(self, most: int) -> None:
        while len(self._open) > most and self._failure is None:
            self._fewer.clear()
            await self._fewer.wait()
        self._raise()

    # --- one URL --------------------------------------------------------------------------------------------------------

    def _tried(self, job: Job, result: Result) -> None:
        fetched = result.fetched
        row = {
            "url": job.url,
            "round": self._work.round,
            "attempt": job.attempts,
            "settled": result.wait_seconds is None,
            "passing": is_passing(fetched.reason, fetched.status, fetched.evidence),
            "reason": fetched.reason,
            "evidence": fetched.evidence,
            "met": met(fetched.reason, fetched.status, fetched.evidence),
            "status": fetched.status,
            "milliseconds": result.milliseconds,
            "bytes": len(fetched.body),
            "redirects": fetched.redirects,
            "at": time.time(),
            "next_retry": None if result.wait_seconds is None else time.time() + result.wait_seconds,
        }
        self._learn_site(job.url, fetched)
        if fetched.reason is None:
            self._worker.decoder.decode(fetched.body, functools.partial(self._decoded, row))
        else:
            self._take(row)

    def _learn_site(self, url: str, fetched: Fetched) -> None:
        if fetched.redirects == 0 and fetched.final_url.startswith("http"):
            origin = origin_of(fetched.final_url)
            if origin not in self._known_sites and origin in self._worker.network.manners.files.read_files:
                self._known_sites.add(origin)
                self._worker.learned.setdefault(self, []).append(origin)

    def _decoded(self, row: dict[str, Any], facts: dict[str, Any] | Exception) -> None:
        if self._ended:
            return
        if isinstance(facts, Exception):
            self.fail(facts)
            return
        row |= facts
        if "reason" in facts:
            row["met"] = facts["reason"]
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._bytes += len(row.get("image") or b"") + len(row.get("thumbnail") or b"")
        self._counts[row["met"]] += 1
        self._counts["bytes"] += row["bytes"]
        if row["settled"]:
            self._done += self._open.pop(row["url"])
            self._fewer.set()
        if len(self._rows) >= SEGMENT_ROWS or self._bytes >= SEGMENT_BYTES:
            self.flush()
        self._worker.write_fullest()

    # --- what is kept ---------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Rows that no write has been begun of."""
        return len(self._rows)

    def flush(self) -> None:
        """Begin to write them."""
        rows, size = self._rows, self._bytes
        origins = self._worker.learned.pop(self, [])
        self._rows, self._bytes = [], 0
        if not rows and not origins:
            return
        read = self._worker.network.manners.files.read_files
        task = asyncio.ensure_future(self._write(rows, [read[origin] for origin in origins], size))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, rows: list[dict[str, Any]], sites: Sequence[Any], size: int) -> None:
        self._worker.bytes_unwritten += size
        try:
            if sites:
                await self._worker.in_thread(lambda: self._journal.write_sites(sites))
            if rows:
                await self._worker.in_thread(lambda: self._journal.write(rows))
        except Exception as error:
            self.fail(error)
        finally:
            self._worker.bytes_unwritten -= size
            self._worker.dispatcher.pump()

    async def _clock(self) -> None:
        written = time.monotonic()
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self._worker.in_thread(self._tell)
            if time.monotonic() - written > SEGMENT_SECONDS:
                written = time.monotonic()
                self.flush()

    def _tell(self) -> None:
        # For the screen only: not synced, and a reader that meets half of it looks again.
        storage.write_soon(self._work.progress, storage.canonical_json({"done": self._done, "counts": self._counts}))
