"""Many URLs through the door to the network in one event loop, for callers that have none: stages, the crawl, file systems."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

from pipeline.web.answer import Fetched, Reason
from pipeline.web.network import Network
from pipeline.web.robots import RobotsRules
from pipeline.web.site_files import SiteFiles
from pipeline.web.site_rules import SiteRules
from pipeline.web.urls import canonical, origin_of
from pipeline.web.validators import NONE, Validators
from pipeline.web.web_config import NetworkConfig


def fetch_all(
    config: NetworkConfig,
    urls: Sequence[str],
    *,
    max_bytes: int | None = None,
    accept: str | None = None,
    types: tuple[str, ...] = (),
    read_opted_out: bool = False,
    known: Sequence[SiteFiles] = (),
    learned: list[SiteFiles] | None = None,
    unless: Mapping[str, Validators] = MappingProxyType({}),
) -> list[Fetched]:
    """Fetch every URL, equal ones once, in an event loop of its own; results in the order of `urls`.

    `known` are hosts' own files that were read before; those read now are added to `learned`, and then the pace of the hosts
    is kept up to the end, so that the next to ask them need not wait. `unless` are the validators of URLs that need no body
    where it is unchanged (status 304).
    """

    async def work() -> list[Fetched]:
        async with Network(config) as network:
            for files in known:
                network.manners.files.give(files)
            once = list(dict.fromkeys(urls))
            fetched = await asyncio.gather(
                *(
                    network.get(
                        url,
                        max_bytes=max_bytes,
                        accept=accept,
                        types=types,
                        read_opted_out=read_opted_out,
                        unless=unless.get(url, NONE),
                    )
                    for url in once
                )
            )
            by_url = dict(zip(once, fetched, strict=True))
            if learned is not None:
                learned.extend(network.manners.files.read_files.values())
                await network.manners.until_quiet()
            return [by_url[url] for url in urls]

    return run_async(work())


def read_robots(
    config: NetworkConfig, urls: Sequence[str], known: Sequence[SiteFiles] = (), learned: list[SiteFiles] | None = None
) -> list[RobotsRules]:
    """The robots.txt rules of each URL's host; without any where they cannot be had. `known` and `learned` as in fetch_all."""

    async def work() -> list[RobotsRules]:
        async with Network(config) as network:
            for files in known:
                network.manners.files.give(files)
            found = await asyncio.gather(*(network.robots(url) for url in urls))
            if learned is not None:
                learned.extend(network.manners.files.read_files.values())
                await network.manners.until_quiet()
            return found

    return run_async(work())


def site_refusals(
    config: NetworkConfig, urls: Sequence[str], known: Sequence[SiteFiles] = ()
) -> list[tuple[Reason, str] | None]:
    """(reason, evidence) that a site's own files keep us from each URL, asking for nothing else of it."""

    async def work() -> list[tuple[Reason, str] | None]:
        async with Network(config) as network:
            for files in known:
                network.manners.files.give(files)
            named = [canonical(url) for url in urls]
            rules = await asyncio.gather(*(network.manners.rules(origin_of(url)) for url in named))
            return [
                each.refusal(url) if isinstance(each, SiteRules) else None
                for url, each in zip(named, rules, strict=True)
            ]

    found: list[tuple[Reason, str] | None] = run_async(work())
    return found


def run_async(work: Any) -> Any:
    """Run a coroutine to its end; in a thread where this one already runs an event loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
