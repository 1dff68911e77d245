"""Sitemaps (sitemaps.org): pages that a site names itself, though nothing may link to them."""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, Record, run_items
from pipeline.execution.progress import Progress
from pipeline.execution.sandbox import SandboxDied, shared
from pipeline.sources import html
from pipeline.sources.config import SiteSource
from pipeline.sources.frontier import LINKS, Job, belongs, fair_share, found_links, work_items
from pipeline.sources.pages import Dropped
from pipeline.sources.turns import keep_files, known_files, run_in_turns
from pipeline.web.site_files import SiteFiles
from pipeline.web.together import fetch_all, read_robots
from pipeline.web.urls import UnusableURLError, canonical, host_of, origin_of
from pipeline.web.web_config import NetworkConfig

IMAGES = pa.schema([("page", pa.string()), ("url", pa.string()), ("text", pa.string()), ("origin", pa.string())])
SitemapImages = dict[str, list[list[str]]]
"""page -> [url, text, origin] of the pictures that a sitemap names for it; a picture without words has "" twice."""
_MAX_SITEMAP_BYTES = 50_000_000  # sitemaps.org's limit


def sitemap_pages(
    config: SiteSource,
    network: NetworkConfig,
    folder: str,
    seeds: Sequence[str],
    executor: Executor,
    progress: Progress,
) -> tuple[list[str], SitemapImages, list[Record]]:
    """Pages named by the sitemaps of the seeds' hosts, their pictures where the image extension tells of some, what was done.

    Indexes are followed, `config.max_sitemaps` files at most, to sitemaps on their own host and on those that the recipe's rules
    admit: whoever else hosts one has not said that it is this site's (sitemaps.org, cross
    submits: a robots.txt says so). About 200 bytes per picture are held.
    """
    hosts = sorted({host_of(seed) for seed in seeds})
    read = functools.partial(_read_sitemaps, network, folder, hosts, config.domains)
    depends_on = [network.identity(), hosts, config.domains]
    origins = sorted({origin_of(seed) for seed in seeds})
    job = Job("sitemap-start", "sitemaps", [network.identity()])
    started = run_items(
        folder, functools.partial(_find_sitemaps, network, folder), work_items(job, origins, 1), executor
    )
    records = list(started)
    wave = sorted({url for url, _ in found_links(folder, started)})
    tried: set[str] = set()
    pages: set[str] = set()
    images: SitemapImages = {}
    while wave and len(tried) < config.max_sitemaps:
        wave = fair_share(wave, config.max_sitemaps - len(tried))
        job = Job(f"sitemap-{len(tried):05d}", "sitemaps", depends_on)
        tried.update(wave)
        done = run_in_turns(folder, read, work_items(job, wave, 4), executor, progress, job.what)
        records.extend(done)
        found = found_links(folder, done)
        pages.update(url for url, kind in found if kind == "page")
        for record in done:
            table = storage.read_table(storage.join(folder, record.files["images"].path))
            for page, *said in zip(*(table.column(name).to_pylist() for name in IMAGES.names), strict=True):
                images.setdefault(page, []).append(said)
        wave = sorted({url for url, kind in found if kind == "sitemap"} - tried)
    return sorted(pages), {page: sorted(said) for page, said in images.items()}, records


def _find_sitemaps(network: NetworkConfig, folder: str, arguments: Mapping[str, Any]) -> Output:
    """Where the hosts keep their sitemaps."""
    rows: list[dict[str, str]] = []
    known = known_files(folder, [f"{origin}/" for origin in arguments["urls"]])
    learned: list[SiteFiles] = []
    found = read_robots(network, arguments["urls"], known, learned)
    keep_files(folder, learned)  # for the sitemaps, the pages and the pictures of these hosts
    for origin, rules in zip(arguments["urls"], found, strict=True):
        for word in rules.sitemaps or ("/sitemap.xml",):
            with contextlib.suppress(UnusableURLError):
                # The line should hold a full URL; sites write "/sitemap.xml" all the same.
                rows.append({"url": canonical(word, f"{origin}/"), "kind": "sitemap"})
    return Output({"links": pa.Table.from_pylist(rows, schema=LINKS)}, {})


def _read_sitemaps(
    network: NetworkConfig, folder: str, hosts: Sequence[str], domains: Sequence[str], arguments: Mapping[str, Any]
) -> Output:
    """URLs of the sitemaps of one item; one that cannot be read names none, and is counted."""
    fallen = Dropped()
    rows: set[tuple[str, str]] = set()
    images: set[tuple[str, str, str, str]] = set()
    elsewhere = 0
    learned: list[SiteFiles] = []
    known = known_files(folder, arguments["urls"])
    for answer in fetch_all(
        network,
        arguments["urls"],
        max_bytes=_MAX_SITEMAP_BYTES,
        accept="application/xml,text/xml",
        known=known,
        learned=learned,
    ):
        if answer.reason is not None:
            fallen.add(answer.url, answer.url, answer.reason, answer.evidence)
            continue
        try:
            said, _ = shared(f"{html.__name__}:parse_sitemap").call({"url": answer.final_url}, answer.body)
        except SandboxDied as death:
            fallen.add(answer.url, answer.url, death.reason, death.detail)
            continue
        if said["fault"] is not None:
            fallen.add(answer.url, answer.url, said["fault"], "a sitemap that names no page")
        rows.update((url, "page") for url in said["pages"])
        own = {*hosts, host_of(answer.url), host_of(answer.final_url)}
        own |= {f"www.{host}" for host in own} | {host.removeprefix("www.") for host in own}
        followed = {url for url in said["sitemaps"] if belongs(url, own, domains)}
        elsewhere += len(said["sitemaps"]) - len(followed)
        rows.update((url, "sitemap") for url in followed)
        for image in said["images"]:
            images.update((image["page"], image["url"], *text) for text in image["texts"] or [["", ""]])
    keep_files(folder, learned)
    found = [{"url": url, "kind": kind} for url, kind in sorted(rows)]
    told = [dict(zip(IMAGES.names, image, strict=True)) for image in sorted(images)]
    tables = {"links": pa.Table.from_pylist(found, schema=LINKS), "images": pa.Table.from_pylist(told, schema=IMAGES)}
    tables["dropped"] = fallen.table()
    count = len(arguments["urls"])
    fates = {"sitemaps": Fate(count, count - len(fallen), fallen.counts())}
    return Output(tables, fates, telemetry={"sitemaps_elsewhere": elsewhere} if elsewhere else {})
