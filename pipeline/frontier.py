"""The crawl's edge: what the finished items found to go on with, and the next wave cut into work items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.ledger import Record, WorkItem
from pipeline.urls import host_of

LINKS = pa.schema([("url", pa.string()), ("kind", pa.string())])
"""What an item found to go on with; kind: page (a link), moved (a redirect away from the crawl's hosts), sitemap."""


@dataclass(frozen=True)
class Job:
    """One round of work items: their names' start, the words for progress, and what their results depend on."""

    name: str
    what: str
    depends_on: Sequence[Any]


def work_items(job: Job, urls: Sequence[str], size: int, hosts: Iterable[str] = ()) -> list[WorkItem]:
    items = []
    for number, start in enumerate(range(0, len(urls), size)):
        part = list(urls[start : start + size])
        identity = {"urls": storage.sha256(storage.canonical_json(part)), "depends_on": list(job.depends_on)}
        items.append(WorkItem(f"{job.name}-{number:05d}", identity, {"urls": part, "hosts": sorted(hosts)}))
    return items


def belongs(url: str, hosts: Iterable[str], domains: Iterable[str]) -> bool:
    host = host_of(url)
    return host in hosts or any(host == domain or host.endswith(f".{domain}") for domain in domains)


def found_links(folder: str, records: Sequence[Record]) -> list[tuple[str, str]]:
    """(url, kind) of every link that the records' items found."""
    found: list[tuple[str, str]] = []
    for record in records:
        table = storage.read_table(storage.join(folder, record.files["links"].path))
        found.extend(zip(table.column("url").to_pylist(), table.column("kind").to_pylist(), strict=True))
    return found
