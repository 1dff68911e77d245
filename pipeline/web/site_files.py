"""Each origin's robots.txt, tdmrep.json and ai.txt: read once, kept for `robots_hours`, handed over to later runs.

RFC 9309 section 2.3.1: a robots.txt answered with 4xx allows all, as one without content does, with 5xx nothing; endless
redirects count as no file. The other files bind where they can be read. How a file is read is handed in, so nothing here
touches the network.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from pipeline.web.answer import Fetched, Verdict, Wish
from pipeline.web.robots import MAX_ROBOTS_BYTES
from pipeline.web.site_rules import AI_TXT, TDMREP, FileRead, SiteRules, files_of
from pipeline.web.web_config import NetworkConfig

WISH = Wish(MAX_ROBOTS_BYTES, "text/plain, application/json;q=0.9", cut=True, obey_robots=False)

Read = Callable[[str, Wish], Awaitable[tuple[Fetched, Verdict]]]


@dataclass(frozen=True)
class SiteFiles:
    """What was read of one origin, and when (seconds since 1970)."""

    origin: str
    read_at: float
    robots: FileRead = None
    tdm: FileRead = None
    ai: FileRead = None


class SiteFileCache:
    """`read(url, wish)` asks for one file, trying again where that helps; `patient` is whether failures are kept."""

    def __init__(self, config: NetworkConfig, read: Read, patient: bool) -> None:
        self._config = config
        self._read = read
        self._patient = patient
        self._more = files_of(config.read_tdmrep, config.read_ai_txt, config.opt_out_directives)
        self._tasks: dict[str, asyncio.Task[SiteRules | Verdict]] = {}
        self._until: dict[str, float] = {}
        self._given: dict[str, SiteFiles] = {}
        self.read_files: dict[str, SiteFiles] = {}
        """Files of origins that were asked for here and answered."""

    def give(self, files: SiteFiles) -> None:
        """What an earlier run read counts until its time is over."""
        if files.origin not in self._tasks and self._good_until(files) > time.time():
            self._given[files.origin] = files

    async def rules(self, origin: str) -> SiteRules | Verdict:
        """The rules of an origin; a Verdict where the host itself cannot be reached, which holds for all its pages."""
        task = self._tasks.get(origin)
        if task is None or (task.done() and self._until.get(origin, float("inf")) < time.time()):
            task = self._tasks[origin] = asyncio.ensure_future(self._rules(origin))
        return task.result() if task.done() else await asyncio.shield(task)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _good_until(self, files: SiteFiles) -> float:
        return files.read_at + self._config.robots_hours * 3600

    async def _rules(self, origin: str) -> SiteRules | Verdict:
        files = self._given.pop(origin, None)
        if files is None:
            robots = await self._robots(origin)
            if isinstance(robots, Verdict):
                if robots.again and not self._patient:
                    del self._tasks[origin]  # it may answer the next time
                return replace(robots, whole_host=True)
            files = SiteFiles(origin, time.time(), robots)
            if not isinstance(robots, str):  # a site that forbids everything is asked nothing more
                files = replace(files, tdm=await self._other(origin, TDMREP), ai=await self._other(origin, AI_TXT))
                self.read_files[origin] = files
        self._until[origin] = self._good_until(files)
        return SiteRules.parse(self._config.product, files.robots, files.tdm, files.ai)

    async def _robots(self, origin: str) -> FileRead | Verdict:
        got, verdict = await self._read(f"{origin}/robots.txt", WISH)
        if got.reason is None:
            return got.body
        if got.status in (204, 205) or 400 <= got.status < 500 or got.reason in ("redirect_loop", "too_many_redirects"):
            return None
        if got.status or got.redirects:
            return f"robots.txt cannot be read: {got.reason} ({got.evidence})"
        return Verdict(reason=got.reason, evidence=got.evidence, again=verdict.again)

    async def _other(self, origin: str, path: str) -> FileRead:
        if path not in self._more:
            return None
        got, _ = await self._read(f"{origin}{path}", WISH)
        return got.body if got.reason is None else None
