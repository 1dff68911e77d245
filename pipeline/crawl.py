"""The crawl: pages read breadth first from seeds, one row per picture on them.

Each wave is the sorted set of URLs that the wave before linked to and nobody has tried; it is cut into work items by the
ledger, so a crawl killed anywhere and started again asks for unfinished items only and ends with the same result. Pages
obey robots.txt, X-Robots-Tag and robots meta tags; every page tried is kept or dropped for one reason.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import html, storage
from pipeline.batch import DROPPED, Batch
from pipeline.errors import DataError
from pipeline.executor import Executor
from pipeline.frontier import LINKS, Job, belongs, found_links, work_items
from pipeline.ledger import Fate, Output, PhaseResult, Progress, Record, run_items, silent
from pipeline.network import Fetched, fetch_all
from pipeline.robots import first_opt_out, forbids_following
from pipeline.sample import candidates
from pipeline.sandbox import SandboxDied, shared
from pipeline.sitemaps import sitemap_pages
from pipeline.urls import canonical, host_of
from pipeline.web_config import CrawlConfig, NetworkConfig

_HTML = ("text/html", "application/xhtml+xml")
_DOWN = ("connection_failed", "name_not_resolved", "timeout", "http_error")


def crawl(
    config: CrawlConfig, network: NetworkConfig, folder: str, executor: Executor, progress: Progress = silent
) -> PhaseResult:
    """Crawl from `config.seeds` into `folder`. Kept rows: sample.CANDIDATE, "" where a picture has no text.

    Raises DataError where no seed can be reached at all; then nothing stays in `folder`.
    """
    seeds = sorted({canonical(seed) for seed in config.seeds})
    hosts = {host_of(seed) for seed in seeds}
    read = functools.partial(_read_pages, config, network)
    # Depth, page limit and item size shape the waves; a page's own result depends on these alone.
    depends_on = [
        config.model_dump(mode="json", include={"text_from", "max_page_bytes", "domains"}),
        network.identity(),
    ]
    records: list[Record] = []
    tried: set[str] = set()
    wave, depth, left_out = seeds, 0, 0
    while wave:
        room = config.max_pages - len(tried)
        left_out, wave = max(0, len(wave) - room), wave[:room]
        tried.update(wave)
        job = Job(f"wave-{depth:04d}", f"crawl wave {depth}", [*depends_on, sorted(hosts)])
        done = run_items(
            folder, read, work_items(job, wave, config.pages_per_item, hosts), executor, progress, job.what
        )
        if depth == 0:
            _refuse_dead_site(folder, seeds, done, network)
            # A seed may send us on, from example.org to www.example.org say: where it leads is meant too.
            hosts |= {host_of(url) for url, kind in found_links(folder, done) if kind == "moved"}
        records.extend(done)
        depth += 1
        if depth > config.max_depth or left_out:
            break
        found = [url for url, kind in found_links(folder, done) if kind in ("page", "moved")]
        if depth == 1 and config.use_sitemap:
            found.extend(sitemap_pages(config, network, folder, seeds, executor, progress))
        wave = sorted({url for url in found if belongs(url, hosts, config.domains)} - tried)
    result = PhaseResult.of_records("crawl", folder, records, {"waves": depth, "left_out": left_out})
    result.save()
    return result


def _refuse_dead_site(folder: str, seeds: Sequence[str], records: Sequence[Record], network: NetworkConfig) -> None:
    """A site that is down is no fate of its pages: forget the attempt and say so."""
    reasons: dict[str, tuple[str, str]] = {}
    for record in records:
        table = storage.read_table(storage.join(folder, record.files["dropped"].path))
        reasons |= {row["url"]: (row["reason"], row["evidence"]) for row in table.to_pylist() if _is_down(row)}
    if len(reasons) < len(seeds):
        return
    for record in records:
        storage.remove_tree(storage.join(folder, "items", f"{record.name}.json"))
        storage.remove_tree(storage.join(folder, "data", record.name))
    for emptied in (storage.join(folder, "items"), storage.join(folder, "data"), folder):
        if not storage.list_names(emptied):
            storage.remove_tree(emptied)
    url, (reason, evidence) = min(reasons.items())
    address = network.hosts.get(host_of(url))
    where = f" at {address} (network.hosts)" if address else ""
    raise DataError(
        f"{url}: cannot be reached{where}: {reason} ({evidence}); start the site or correct crawl.seeds, and run again"
    )


def _is_down(row: Mapping[str, Any]) -> bool:
    """Whether trying again later can help; a robots.txt that exists and forbids is an answer, an unreadable one is not."""
    unreadable = row["reason"] == "robots_txt" and "cannot be read" in (row["evidence"] or "")
    return row["reason"] in _DOWN or unreadable


# --- one work item of pages ---------------------------------------------------------------------------------------------


@dataclass
class _Page:
    """What one page came to."""

    url: str
    reason: str | None = None
    evidence: str | None = None
    pairs: Sequence[Mapping[str, str]] = ()
    links: Sequence[tuple[str, str]] = ()


def _read_pages(config: CrawlConfig, network: NetworkConfig, arguments: Mapping[str, Any]) -> Output:
    """Fetch and parse the pages of one item, in their order."""
    fetched = fetch_all(
        network,
        arguments["urls"],
        max_bytes=config.max_page_bytes,
        accept="text/html,application/xhtml+xml;q=0.9",
        types=_HTML,
        read_opted_out=True,
    )
    pages = [_read_page(config, network, arguments["hosts"], answer) for answer in fetched]
    batch = Batch.of(
        pa.table({"uid": [p.url for p in pages], "url": [p.url for p in pages]}, schema=pa.schema(list(DROPPED)[:2]))
    ).drop([page.reason for page in pages], [page.evidence for page in pages])
    pairs = [pair for page in pages for pair in page.pairs]
    links = sorted({link for page in pages for link in page.links})
    return Output(
        {
            "kept": candidates(pairs),
            "dropped": batch.dropped,
            "links": pa.Table.from_pylist([{"url": url, "kind": kind} for url, kind in links], schema=LINKS),
        },
        {"pages": Fate.of(len(pages), batch), "pairs": Fate(len(pairs), len(pairs))},
        telemetry={
            "retried": sum(answer.attempts > 1 and answer.reason is None for answer in fetched),
            "redirected": sum(answer.redirects > 0 and answer.reason is None for answer in fetched),
        },
    )


def _read_page(config: CrawlConfig, network: NetworkConfig, hosts: Sequence[str], answer: Fetched) -> _Page:
    withheld = answer.reason == "header_opt_out"
    if answer.reason is not None and not withheld:
        return _Page(answer.url, answer.reason, answer.evidence)
    if not withheld and not belongs(answer.final_url, hosts, config.domains):
        # Another site answers: it has pages and rules of its own, so it is a link like any other.
        return _Page(answer.url, links=[(answer.final_url, "moved")])
    parsed = _parse(config, network, answer)
    if parsed.reason is not None and not withheld:
        return parsed
    links = () if forbids_following(answer.robots) else parsed.links
    if withheld:
        return _Page(answer.url, answer.reason, answer.evidence, links=links)
    return _Page(answer.url, pairs=parsed.pairs, links=links)


def _parse(config: CrawlConfig, network: NetworkConfig, answer: Fetched) -> _Page:
    """The page's pairs and links, or why it has none."""
    content_type = answer.headers.get("content-type", "")
    kind = content_type.split(";")[0].strip().lower()
    if kind not in _HTML and (kind or answer.body.lstrip()[:1] != b"<"):
        return _Page(answer.url, "not_html", kind or "no content type")
    wish = {
        "url": answer.final_url,
        "text_from": list(config.text_from),
        "product": network.product,
        "content_type": content_type,
    }
    try:
        said, _ = shared(f"{html.__name__}:parse_page").call(wish, answer.body)
    except SandboxDied as death:
        return _Page(answer.url, "decoder_crashed", death.reason)
    links = [(url, "page") for url in said["links"]]
    word = first_opt_out(said["robots"], network.opt_out_directives)
    if word is not None:
        return _Page(answer.url, "meta_opt_out", f"robots meta tag: {word}", links=links)
    pairs = [
        {
            "url": image["url"],
            "text": image["text"],
            "text_origin": image["origin"],
            "page_url": answer.final_url,
        }
        for image in said["images"]
    ]
    return _Page(answer.url, pairs=pairs, links=links)
