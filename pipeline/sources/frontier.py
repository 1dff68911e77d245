"""The crawl's edge: what the finished items found to go on with, and the next wave cut into work items."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.execution.ledger import Record, WorkItem
from pipeline.web.urls import host_of, origin_of

LINKS = pa.schema([("url", pa.string()), ("kind", pa.string())])
"""What an item found to go on with; kind: page (a link), moved (a redirect away from the crawl's hosts), sitemap."""


@dataclass(frozen=True)
class Job:
    """One round of work items: their names' start, the words for progress, and what their results depend on."""

    name: str
    what: str
    depends_on: Sequence[Any]


def work_items(
    job: Job, urls: Sequence[str], size: int, hosts: Iterable[str] = (), known: Mapping[str, Any] | None = None
) -> list[WorkItem]:
    """`known` is what is known of some URLs before they are read; each item takes what concerns its own."""
    items = []
    for number, start in enumerate(range(0, len(urls), size)):
        part = list(urls[start : start + size])
        identity = {"urls": storage.sha256(storage.canonical_json(part)), "depends_on": list(job.depends_on)}
        told = {url: known[url] for url in part if url in known} if known else {}
        if told:
            identity["known"] = storage.sha256(storage.canonical_json(told))
        arguments = {"urls": part, "hosts": sorted(hosts), "known": told}
        items.append(WorkItem(f"{job.name}-{number:05d}", identity, arguments))
    return items


def belongs(url: str, hosts: Iterable[str], domains: Iterable[str]) -> bool:
    host = host_of(url)
    return host in hosts or any(host == domain or host.endswith(f".{domain}") for domain in domains)


def fair_share(urls: Sequence[str], room: int, first: Iterable[str] = ()) -> list[str]:
    """`room` of `urls` in their order: those of `first`, then as many of each host as of any other, while it has some."""
    if len(urls) <= room:
        return list(urls)
    before = set(first)
    seen: Counter[str] = Counter()
    ranks: list[tuple[int, int]] = []
    for place, url in enumerate(urls):
        host = host_of(url)
        ranks.append((-1 if url in before else seen[host], place))
        seen[host] += 1
    return [urls[place] for place in sorted(place for _, place in sorted(ranks)[:room])]


class PathRules:
    """Which pages a recipe wants, by path and query. Patterns as in robots.txt: a beginning, * for anything, $ for the end."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = [_pattern(each) for each in include]
        self._exclude = [_pattern(each) for each in exclude]

    def admit(self, url: str) -> bool:
        path = url[len(origin_of(url)) :]
        wanted = not self._include or any(rule.match(path) for rule in self._include)
        return wanted and not any(rule.match(path) for rule in self._exclude)


def _pattern(text: str) -> "re.Pattern[str]":
    body, end = (text[:-1], "$") if text.endswith("$") else (text, "")
    # (?s:.*?) between literals, one after the other: no pattern of a recipe can make it slow but in the number of stars.
    return re.compile(".*?".join(re.escape(part) for part in re.split(r"\*+", body)) + end, re.DOTALL)


def found_links(folder: str, records: Sequence[Record]) -> list[tuple[str, str]]:
    """(url, kind) of every link that the records' items found."""
    found: list[tuple[str, str]] = []
    for record in records:
        table = storage.read_table(storage.join(folder, record.files["links"].path))
        found.extend(zip(table.column("url").to_pylist(), table.column("kind").to_pylist(), strict=True))
    return found
