"""Which URL is asked for next: fair over a lane's hosts, within each host's pace, never held up by a slow one.

What may last goes first: a host that has not answered yet, since it may be silent, and one with a pace of its own. Then hosts
that are asked for least at the time, which spares them and us connections; of these older lanes before younger ones, so that
lanes end one after the other and what follows a lane is done while others download.

A host shows itself with one request before it gets more at once. One that fails time after time (circuit breaker) is rested
and asked again with one request; when that has failed often enough it is given up, and all its URLs with it. A request
that takes over PATIENCE_SECONDS keeps its connection and gives its place away, so that hanging hosts cost memory, not speed.

How a URL is asked for and what becomes of it is handed in, so nothing here touches the network.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.web.answer import UNREACHED, Fetched, Verdict
from pipeline.web.breaker import Breaker
from pipeline.web.web_config import NetworkConfig

PATIENCE_SECONDS = 2.0
OPEN_PER_PLACE = 8
"""Requests that may be open for one place, the slow ones among them."""

Attempt = Callable[[str], Awaitable[tuple[Fetched, Verdict]]]


@dataclass(eq=False)
class Job:
    """A URL to fetch. `done(job, result)` is told of each attempt; `attempts` counts them, earlier runs' included."""

    url: str
    done: Callable[["Job", "Result"], None]
    attempts: int = 0
    host: "Host" = field(init=False)


@dataclass(frozen=True)
class Result:
    """What an attempt came to. `wait_seconds` is the time to the next one; None: the URL is settled."""

    fetched: Fetched
    milliseconds: int
    wait_seconds: float | None
    passing: bool = False
    """Settled because its host was given up."""


@dataclass(eq=False)
class Host:
    """What we know of a host, and what waits for it."""

    name: str
    lane: int = 0  # lanes with smaller numbers go first
    waiting: deque[Job] = field(default_factory=deque)
    later: int = 0  # jobs whose next attempt is not due
    running: int = 0
    answers: bool = False
    paced: bool = False  # may be asked only so often
    breaker: Breaker = field(default_factory=Breaker)
    not_before: float = 0.0
    wake_at: float = 0.0
    listed: int | None = None  # the number of its entry among those that may start; others of it count no more
    order: tuple[bool, int, int] = (True, 0, 0)  # of that entry
    given_up: Fetched | None = None


@dataclass(eq=False)
class _Running:
    started: float
    counted: bool = True


class Dispatcher:
    """Runs jobs in the running event loop. `room()` says whether more may be downloaded; call `pump` when that changes."""

    def __init__(
        self,
        config: NetworkConfig,
        attempt: Attempt,
        interval_seconds: Callable[[str], float] = lambda host: 0.0,
        room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._config, self._attempt, self._interval_seconds, self._room = config, attempt, interval_seconds, room
        self._loop = asyncio.get_running_loop()
        self._hosts: dict[str, Host] = {}
        self._ready: list[tuple[bool, int, int, int, Host]] = []  # a heap: order, number, host
        self._timers: list[tuple[float, int, Host, Job | None]] = []
        self._count = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        self._running: dict[asyncio.Task[None], _Running] = {}
        self._places_taken = 0
        self._sweeper = self._loop.call_later(1.0, self._sweep)
        self.failed: Callable[[BaseException], None] = _raise
        """Told of a bug in what was handed in."""

    def add(self, host: str, job: Job, due_in_seconds: float = 0.0, lane: int = 0) -> None:
        """Have a job done; `pump` starts it. All jobs of a host are of one lane."""
        if host not in self._hosts:
            self._hosts[host] = Host(host, lane)
        job.host = self._hosts[host]
        if job.host.given_up is not None:
            self._end_with_host(job)
        elif due_in_seconds > 0:
            self._put_off(job, due_in_seconds)
        else:
            job.host.waiting.append(job)
            self._list(job.host)

    def pump(self) -> None:
        """Start what may be started."""
        now = self._loop.time()
        while self._timers and self._timers[0][0] <= now:
            _, _, host, job = heapq.heappop(self._timers)
            if job is not None:
                host.later -= 1
                if host.given_up is not None:
                    self._end_with_host(job)
                    continue
                host.waiting.append(job)
            self._list(host)
        most = self._config.concurrency
        while self._ready and self._places_taken < most and len(self._running) < OPEN_PER_PLACE * most and self._room():
            *_, number, host = heapq.heappop(self._ready)
            if host.listed != number:
                continue
            host.listed = None
            if host.waiting and self._may_start(host) and host.not_before <= now:
                self._start(host, host.waiting.popleft(), now)
            self._list(host)
        self._set_alarm()

    async def close(self) -> None:
        self._sweeper.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- hosts ----------------------------------------------------------------------------------------------------------

    def _may_start(self, host: Host) -> bool:
        return host.running < (self._config.per_host_concurrency if host.answers else 1)

    def _list(self, host: Host) -> None:
        """In line, if something waits for it and may start now or soon; further in front, if less of it runs than before."""
        if not host.waiting or not self._may_start(host):
            return
        usual = host.answers and not host.paced
        order = (usual, host.running, host.lane) if usual else (usual, 0, 0)
        if host.listed is not None and host.order <= order:
            return
        if host.not_before > self._loop.time():
            if host.wake_at != host.not_before:
                host.wake_at = host.not_before
                self._wake(host.not_before, host, None)
        else:
            host.listed, host.order = next(self._count), order
            heapq.heappush(self._ready, (*order, host.listed, host))
            if len(self._ready) > 64 + 2 * len(self._hosts):
                self._ready = [entry for entry in self._ready if entry[-1].listed == entry[-2]]
                heapq.heapify(self._ready)

    def _wake(self, at: float, host: Host, job: Job | None) -> None:
        heapq.heappush(self._timers, (at, next(self._count), host, job))
        self._set_alarm()

    def _set_alarm(self) -> None:
        first = self._timers[0][0] if self._timers else float("inf")
        if first < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at, self._alarm = first, self._loop.call_at(first, self._ring)

    def _ring(self) -> None:
        self._alarm_at, self._alarm = float("inf"), None
        self.pump()

    def _sweep(self) -> None:
        """Requests that take long give their place away."""
        limit = self._loop.time() - PATIENCE_SECONDS
        for running in self._running.values():
            if running.counted and running.started < limit:
                running.counted = False
                self._places_taken -= 1
        self._sweeper = self._loop.call_later(1.0, self._sweep)
        self.pump()

    # --- attempts -------------------------------------------------------------------------------------------------------

    def _start(self, host: Host, job: Job, now: float) -> None:
        host.running += 1
        interval = self._interval_seconds(host.name)
        if interval:
            host.paced, host.not_before = True, now + interval
        self._places_taken += 1
        running = _Running(now)
        task = self._loop.create_task(self._one(host, job, running))
        self._running[task] = running
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._running.pop(task).counted:
            self._places_taken -= 1
        if not task.cancelled() and task.exception() is not None:
            self.failed(task.exception())  # type: ignore[arg-type]
        self.pump()

    async def _one(self, host: Host, job: Job, running: _Running) -> None:
        fetched, verdict = await self._attempt(job.url)
        host.running -= 1
        job.attempts += 1
        milliseconds = int((self._loop.time() - running.started) * 1000)
        if fetched.redirects == 0:
            self._learn(host, fetched, verdict, running.started)
        if self._sends_away(verdict) and fetched.redirects == 0 and host.given_up is None:
            longest = self._config.max_retry_wait_seconds
            self._give_up(host, replace(fetched, evidence=f"{fetched.evidence}, Retry-After over {longest:g} s"))
        if host.given_up is not None and (fetched.reason in UNREACHED or verdict.again) and fetched.redirects == 0:
            self._end_with_host(job)
            return
        wait = self._wait_seconds(host, job, fetched, verdict)
        if fetched.attempts != job.attempts:
            fetched = replace(fetched, attempts=job.attempts)
        job.done(job, Result(fetched, milliseconds, wait))
        if wait is not None:
            self._put_off(job, wait)
        self._list(host)

    def _sends_away(self, verdict: Verdict) -> bool:
        """Whether the host asks for more patience than this run has: it is left alone, and asked in a later round."""
        asked = verdict.wait_seconds if verdict.status in (429, 503) else None
        return asked is not None and asked > self._config.max_retry_wait_seconds

    def _wait_seconds(self, host: Host, job: Job, fetched: Fetched, verdict: Verdict) -> float | None:
        """How long until this URL is asked for again; None where that will not be."""
        config = self._config
        if verdict.whole_host and verdict.again and fetched.redirects == 0:
            return max(0.0, host.not_before - self._loop.time())  # the breaker counts, not the URL
        if not verdict.again or job.attempts > config.retries:
            return None
        wait = config.retry_wait_seconds * 2 ** (job.attempts - 1)
        if verdict.wait_seconds is not None:
            wait = verdict.wait_seconds
        wait = min(wait, config.max_retry_wait_seconds)
        if verdict.wait_seconds is not None and verdict.status in (429, 503):  # said to us, not of this URL
            host.not_before = max(host.not_before, self._loop.time() + wait)
        return wait

    def _learn(self, host: Host, fetched: Fetched, verdict: Verdict, started: float) -> None:
        """What an answer says of its host's health."""
        if fetched.reason not in UNREACHED:
            if fetched.status:
                host.answers = True
                host.breaker.mend()
            return
        if not verdict.again:
            return
        host.breaker.failures += 1
        if not verdict.whole_host and host.breaker.failures < self._config.host_failures:
            return
        if started < host.breaker.rested_at:  # several were under way when it broke: one rest for all
            return
        host.answers = False
        until = host.breaker.rest_until(self._config, self._loop.time())
        if until is None:
            self._give_up(host, fetched)
        else:
            host.not_before = max(host.not_before, until)

    def _give_up(self, host: Host, last: Fetched) -> None:
        evidence = f"given up after {last.reason}: {last.evidence}"
        host.given_up = replace(last, reason="host_unreachable", evidence=evidence, body=b"")
        while host.waiting:
            self._end_with_host(host.waiting.popleft())

    def _end_with_host(self, job: Job) -> None:
        assert job.host.given_up is not None
        fetched = replace(job.host.given_up, url=job.url, attempts=job.attempts)
        job.done(job, Result(fetched, 0, None, passing=True))

    def _put_off(self, job: Job, seconds: float) -> None:
        job.host.later += 1
        self._wake(self._loop.time() + seconds, job.host, job)


def _raise(error: BaseException) -> Any:
    raise error
