"""Fetching with manners: robots.txt before everything, redirects one by one, retries only where one can help.

What a single request does is handed in (`request`), so nothing here touches the network.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from pipeline.addresses import url_refusal
from pipeline.answer import Fetched, Verdict, Wish
from pipeline.robots import MAX_ROBOTS_BYTES, RobotsRules
from pipeline.urls import UnusableURLError, canonical, host_of, origin_of
from pipeline.web_config import NetworkConfig

_ROBOTS_TXT = Wish(MAX_ROBOTS_BYTES, "text/plain", cut=True, obey_robots=False)


class Manners:
    """One view of every host: its robots.txt (asked for once), its Crawl-delay, and how many requests it has now.

    `request(url, wish, seconds)` makes one request without redirects. To be made inside a running event loop.
    """

    def __init__(self, config: NetworkConfig, request: Callable[[str, Wish, float], Awaitable[Verdict]]) -> None:
        self._config = config
        self._request = request
        self._rules: dict[str, asyncio.Task[RobotsRules | Verdict]] = {}
        self._next_start: dict[str, float] = {}
        self._everywhere = asyncio.Semaphore(config.concurrency)
        self._at_host: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(config.per_host_concurrency)
        )

    async def get(self, url: str, wish: Wish) -> Fetched:
        """Fetch `url`, trying again where that can help."""
        wait = self._config.retry_wait_seconds
        for attempt in range(1, self._config.retries + 2):
            fetched, verdict = await self._attempt(url, wish)
            if not verdict.again or attempt > self._config.retries:
                break
            wished = wait if verdict.wait_seconds is None else verdict.wait_seconds
            await asyncio.sleep(min(wished, self._config.max_retry_wait_seconds))
            wait *= 2
        return replace(fetched, attempts=attempt)

    async def rules(self, origin: str) -> RobotsRules | Verdict:
        """The rules of an origin; a Verdict where the host itself cannot be reached, which holds for all its pages."""
        if origin not in self._rules:
            self._rules[origin] = asyncio.ensure_future(self._read_rules(origin))
        return await asyncio.shield(self._rules[origin])

    async def close(self) -> None:
        for task in self._rules.values():
            task.cancel()
        await asyncio.gather(*self._rules.values(), return_exceptions=True)

    async def _attempt(self, url: str, wish: Wish) -> tuple[Fetched, Verdict]:
        """One go at `url`, all its redirects included."""
        seen: set[str] = set()
        seconds_left = self._config.total_seconds
        target, base = url, None
        while True:
            verdict, here = await self._permission(target, base, seen, wish)
            if verdict is None:
                async with self._at_host[host_of(here)], self._everywhere:
                    started = time.monotonic()
                    verdict = await self._request(here, wish, seconds_left)
                    seconds_left = max(0.01, seconds_left - (time.monotonic() - started))
            if verdict.location is None:
                break
            target, base = verdict.location, here
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
        if (evidence := rules.refusal(here)) is not None:
            return Verdict(reason="robots_txt", evidence=evidence), here
        await self._wait_turn(host_of(here), rules.crawl_delay_seconds)
        return None, here

    async def _wait_turn(self, host: str, delay_seconds: float) -> None:
        delay = min(delay_seconds, self._config.max_crawl_delay_seconds)
        if delay > 0:
            now = time.monotonic()
            start = max(now, self._next_start.get(host, 0.0))
            self._next_start[host] = start + delay
            await asyncio.sleep(start - now)

    async def _read_rules(self, origin: str) -> RobotsRules | Verdict:
        """RFC 9309 section 2.3.1: a 4xx allows all, a 5xx nothing, endless redirects count as no file."""
        product = self._config.product
        got = await self.get(f"{origin}/robots.txt", _ROBOTS_TXT)
        if got.reason is None:
            return RobotsRules.parse(got.body, product)
        if 400 <= got.status < 500 or got.reason in ("redirect_loop", "too_many_redirects"):
            return RobotsRules(product)
        if got.status or got.redirects:
            return RobotsRules(product, forbidden=f"robots.txt cannot be read: {got.reason} ({got.evidence})")
        return Verdict(reason=got.reason, evidence=got.evidence)
