"""Fetching with manners: a site's own rules before everything, redirects one by one, retries only where one can help.

What a single request does is handed in (`request`), so nothing here touches the network.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from pipeline.web.addresses import url_refusal
from pipeline.web.answer import UNREACHED, Fetched, Verdict, Wish
from pipeline.web.breaker import Breaker
from pipeline.web.site_files import SiteFileCache
from pipeline.web.site_rules import SiteRules
from pipeline.web.urls import UnusableURLError, canonical, host_of, origin_of
from pipeline.web.web_config import NetworkConfig


class Manners:
    """One view of every host: its rules (asked for once), its pace, and how many requests it has now.

    `request(url, wish, seconds)` makes one request without redirects. `patient` tries again by itself; else the caller
    does. To be made inside a running event loop.
    """

    def __init__(
        self,
        config: NetworkConfig,
        request: Callable[[str, Wish, float], Awaitable[Verdict]],
        open_at_once: int | None = None,
        patient: bool = True,
    ) -> None:
        self._config = config
        self._request = request
        self._patient = patient
        self.files = SiteFileCache(config, self._file, patient)
        self._next_start: dict[str, float] = {}
        self._interval_seconds: dict[str, float] = {}
        self._hold_until: dict[str, float] = {}
        self._sent_away: dict[str, Verdict] = {}
        self._breakers: dict[str, Breaker] = {}
        self._everywhere = asyncio.Semaphore(open_at_once or config.concurrency)
        self._at_host: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(config.per_host_concurrency)
        )

    async def get(self, url: str, wish: Wish) -> Fetched:
        """Fetch `url`, trying again where that can help."""
        fetched, _ = await self._repeated(url, wish)
        return fetched

    async def rules(self, origin: str) -> SiteRules | Verdict:
        """The rules of an origin; a Verdict where the host itself cannot be reached, which holds for all its pages."""
        return await self.files.rules(origin)

    def interval_seconds(self, host: str) -> float:
        """Seconds between the starts of two requests to this host, as far as its rules are known."""
        return self._interval_seconds.get(host, 0.0)

    async def close(self) -> None:
        await self.files.close()

    async def _repeated(self, url: str, wish: Wish, unreached_too: bool = True) -> tuple[Fetched, Verdict]:
        wait = self._config.retry_wait_seconds
        for attempt in range(1, self._config.retries + 2):
            fetched, verdict = await self.attempt(url, wish)
            helps = verdict.again and not verdict.whole_host and (verdict.status or unreached_too)
            if not helps or attempt > self._config.retries:
                break
            if verdict.wait_seconds is not None and verdict.wait_seconds > self._config.max_retry_wait_seconds:
                break  # asking earlier than told would be rude, and waiting so long is no use
            wished = wait if verdict.wait_seconds is None else verdict.wait_seconds
            await asyncio.sleep(min(wished, self._config.max_retry_wait_seconds))
            wait *= 2
        return (fetched if attempt == 1 else replace(fetched, attempts=attempt)), verdict

    async def _file(self, url: str, wish: Wish) -> tuple[Fetched, Verdict]:
        return await self._repeated(url, wish, unreached_too=self._patient)

    async def attempt(self, url: str, wish: Wish) -> tuple[Fetched, Verdict]:
        """One go at `url`, all its redirects included; the Verdict says whether another can help."""
        seen: set[str] = set()
        seconds_left = self._config.total_seconds
        target, base = url, None
        while True:
            verdict, here = await self._permission(target, base, seen, wish)
            if verdict is None:
                async with self._at_host[host_of(here)]:
                    verdict = await self._left_alone(host_of(here))
                    if verdict is None:
                        async with self._everywhere:
                            started = time.monotonic()
                            verdict = await self._request(here, wish, seconds_left)
                            seconds_left = max(0.01, seconds_left - (time.monotonic() - started))
                        if self._patient and wish.obey_robots:
                            self._learn(host_of(here), verdict, started)
            if verdict.location is None:
                break
            target, base = verdict.location, here
        if self._patient and verdict.status in (429, 503) and verdict.wait_seconds is not None:
            self._asked_to_wait(host_of(here), verdict)
        fetched = Fetched(
            url,
            here,
            verdict.status,
            verdict.headers,
            verdict.body,
            verdict.reason,
            verdict.evidence,
            verdict.robots,
            redirects=max(0, len(seen) - 1),
        )
        return fetched, verdict

    async def _permission(
        self, target: str, base: str | None, seen: set[str], wish: Wish
    ) -> tuple[Verdict | None, str]:
        """The canonical URL, and the reason why it may not be requested, if there is one; `seen` grows by it."""
        config = self._config
        try:
            here = canonical(target, base)
        except UnusableURLError as error:
            return Verdict(reason="address_refused", evidence=str(error)), base or target
        if here in seen:
            return Verdict(reason="redirect_loop", evidence=here), here
        if len(seen) > config.max_redirects:
            return Verdict(reason="too_many_redirects", evidence=f"more than {config.max_redirects}"), here
        seen.add(here)
        why = url_refusal(here, base, config.allowed_ports, config.hosts)
        if why is not None:
            return Verdict(reason="address_refused", evidence=why), here
        if not wish.obey_robots:
            return None, here
        rules = await self.rules(origin_of(here))
        if isinstance(rules, Verdict):
            return rules, here
        refusal = rules.refusal(here)
        if refusal is not None:
            return Verdict(reason=refusal[0], evidence=refusal[1]), here
        await self._wait_turn(host_of(here), rules.robots.crawl_delay_seconds)
        return None, here

    async def _wait_turn(self, host: str, crawl_delay_seconds: float) -> None:
        delay = min(crawl_delay_seconds, self._config.max_crawl_delay_seconds)
        if self._config.per_host_requests_per_second is not None:
            delay = max(delay, 1.0 / self._config.per_host_requests_per_second)
        if delay > 0:
            self._interval_seconds[host] = delay
            now = time.monotonic()
            start = max(now, self._next_start.get(host, 0.0))
            self._next_start[host] = start + delay
            await asyncio.sleep(start - now)

    def _asked_to_wait(self, host: str, verdict: Verdict) -> None:
        """Retry-After of a 429 or 503 is said to us, not of one page: the host is left alone for so long, or for good."""
        assert verdict.wait_seconds is not None
        longest = self._config.max_retry_wait_seconds
        if verdict.wait_seconds > longest:
            why = f"status {verdict.status}, Retry-After over {longest:g} s"
            self._sent_away[host] = Verdict(verdict.status, reason=verdict.reason, evidence=why)
        else:
            until = time.monotonic() + verdict.wait_seconds
            self._hold_until[host] = max(self._hold_until.get(host, 0.0), until)

    def _learn(self, host: str, verdict: Verdict, started: float) -> None:
        """What an answer says of its host's health."""
        if verdict.reason not in UNREACHED:
            self._breakers.pop(host, None)
            return
        breaker = self._breakers.setdefault(host, Breaker())
        breaker.failures += verdict.again
        # Several were under way when it broke: one rest for all.
        if breaker.failures < self._config.host_failures or started < breaker.rested_at or host in self._sent_away:
            return
        breaker.failures = 0
        until = breaker.rest_until(self._config, time.monotonic())
        if until is None:
            why = f"given up after {verdict.reason}: {verdict.evidence}"
            self._sent_away[host] = Verdict(reason="host_unreachable", evidence=why)
        else:
            self._hold_until[host] = max(self._hold_until.get(host, 0.0), until)

    async def _left_alone(self, host: str) -> Verdict | None:
        """Wait where the host asked for it meanwhile; why it is asked no more, if it sent us away."""
        while (left := self._hold_until.get(host, 0.0) - time.monotonic()) > 0 and host not in self._sent_away:
            await asyncio.sleep(left)
            await self._wait_turn(host, self._interval_seconds.get(host, 0.0))
        return self._sent_away.get(host)

    async def until_quiet(self) -> None:
        """Until every host may be asked again."""
        asked_at = max([*self._next_start.values(), *self._hold_until.values()], default=0.0)
        await asyncio.sleep(max(0.0, asked_at - time.monotonic()))
