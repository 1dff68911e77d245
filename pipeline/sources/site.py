"""The crawl: pages read breadth first from seeds, one row per picture on them.

Each wave is the sorted set of URLs that the wave before linked to and nobody has tried; it is cut into work items by the
ledger, so a crawl killed anywhere and started again asks for unfinished items only and ends with the same result. Pages
obey robots.txt, X-Robots-Tag and robots meta tags; every page tried is kept or dropped for one reason.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.batch import DROPPED, Batch
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, Record
from pipeline.execution.progress import Progress, silent
from pipeline.sample import candidates
from pipeline.sources.config import SiteSource
from pipeline.sources.frontier import LINKS, Job, PathRules, belongs, fair_share, found_links, work_items
from pipeline.sources.html import SITEMAP_LICENCE
from pipeline.sources.html_pictures import first_text
from pipeline.sources.http_message import is_markup
from pipeline.sources.pages import BEYOND, HTML_TYPES, Dropped, Page, Parsed, parse_all
from pipeline.sources.sitemaps import SitemapImages, sitemap_pages
from pipeline.sources.turns import forget_files, keep_away, keep_files, known_files, run_in_turns, sent_away
from pipeline.web.answer import UNREACHED
from pipeline.web.directives import first_value, forbids_following
from pipeline.web.network import Fetched
from pipeline.web.site_files import SiteFiles
from pipeline.web.together import fetch_all
from pipeline.web.urls import canonical, host_of
from pipeline.web.web_config import NetworkConfig

_DOWN = (*UNREACHED, "http_error")


def crawl(
    config: SiteSource,
    network: NetworkConfig,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
    name: str = "crawl",
) -> PhaseResult:
    """Crawl from `config.seeds` into `folder`. Kept rows: sample.CANDIDATE, "" where a picture has no text.

    Raises DataError where no seed can be reached at all; then nothing stays in `folder`.
    """
    seeds = sorted({canonical(seed) for seed in config.seeds})
    hosts = {host_of(seed) for seed in seeds}
    read = functools.partial(_read_pages, config, network, folder)
    # Depth, page limit and item size shape the waves; a page's own result depends on these alone.
    depends_on = [
        config.model_dump(mode="json", include={"text_from", "max_page_bytes", "domains"}),
        network.identity(),
    ]
    rules = PathRules(config.include, config.exclude)
    records: list[Record] = []
    tried: set[str] = set()
    ruled_out: set[str] = set()
    named: list[str] = []
    known: SitemapImages = {}
    asked: list[Record] = []
    if config.use_sitemap:
        named, known, asked = sitemap_pages(config, network, folder, seeds, executor, progress)

    def admitted(urls: Iterable[str]) -> list[str]:
        ours = {url for url in urls if belongs(url, hosts, config.domains)}.difference(tried, seeds)
        wanted = sorted(url for url in ours if rules.admit(url))
        ruled_out.update(ours.difference(wanted))
        return wanted

    wave = [*seeds, *admitted(named)]
    linked: set[str] = set()
    depth = waves = left_out = 0
    while wave:
        room = config.max_pages - len(tried)
        left_out, wave = max(0, len(wave) - room), fair_share(wave, room, seeds)
        tried.update(wave)
        job = Job(f"wave-{waves:04d}", f"crawl wave {waves}", [*depends_on, sorted(hosts)])
        items = work_items(job, wave, config.pages_per_item, hosts, known)
        done = run_in_turns(folder, read, items, executor, progress, job.what)
        found = found_links(folder, done)
        linked.update(url for url, kind in found if kind == "page")
        moved = [url for url, kind in found if kind == "moved"]
        if waves == 0:
            _refuse_dead_site(folder, seeds, done, asked, network)
            # A seed may send us on, from example.org to www.example.org say: where it leads is meant too.
            hosts |= {host_of(url) for url in moved}
            moved.extend(named)  # those on hosts that a seed has moved to
        records.extend(done)
        waves += 1
        if left_out:
            break
        wave = admitted(moved)  # as deep as the page that has moved there, and no link further
        if not wave and depth < config.max_depth:
            depth += 1
            wave, linked = admitted(linked), set()
    extra = {"waves": waves, "left_out": left_out} | ({"ruled_out": len(ruled_out)} if ruled_out else {})
    result = PhaseResult.of_records(name, folder, [*asked, *records], extra)
    result.save()
    return result


def _refuse_dead_site(
    folder: str, seeds: Sequence[str], records: Sequence[Record], before: Sequence[Record], network: NetworkConfig
) -> None:
    """A site that is down is no fate of its pages: forget the attempt and say so."""
    reasons: dict[str, tuple[str, str]] = {}
    for record in records:
        if "dropped" not in record.files:
            continue
        table = storage.read_table(storage.join(folder, record.files["dropped"].path))
        down = [row for row in table.to_pylist() if row["url"] in seeds and _is_down(row)]
        reasons |= {row["url"]: (row["reason"], row["evidence"]) for row in down}
    if len(reasons) < len(seeds):
        return
    forget_files(folder)
    for record in [*records, *before]:
        storage.remove_tree(storage.join(folder, "items", f"{record.name}.json"))
        storage.remove_tree(storage.join(folder, "data", record.name))
    for emptied in (storage.join(folder, "items"), storage.join(folder, "data"), folder):
        if not storage.list_names(emptied):
            storage.remove_tree(emptied)
    url, (reason, evidence) = min(reasons.items())
    address = network.hosts.get(host_of(url))
    where = f" at {address} (network.hosts)" if address else ""
    raise DataError(
        f"{url}: cannot be reached{where}: {reason} ({evidence}); start the site or correct its seeds, and run again"
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
    pairs: Sequence[Mapping[str, Any]] = ()
    links: Sequence[tuple[str, str]] = ()
    beyond: int = 0
    unusable: Sequence[tuple[str, str]] = ()


def _read_pages(config: SiteSource, network: NetworkConfig, folder: str, arguments: Mapping[str, Any]) -> Output:
    """Fetch and parse the pages of one item, in their order."""
    learned: list[SiteFiles] = []
    away = sent_away(folder, arguments["urls"])
    answers = fetch_all(
        network,
        [url for url in arguments["urls"] if url not in away],
        max_bytes=config.max_page_bytes,
        accept="text/html,application/xhtml+xml;q=0.9",
        types=HTML_TYPES,
        read_opted_out=True,
        known=known_files(folder, arguments["urls"]),
        learned=learned,
    )
    keep_files(folder, learned)
    keep_away(folder, answers, network.max_retry_wait_seconds)
    by_url = {**away, **{answer.url: answer for answer in answers}}
    fetched = [by_url[url] for url in arguments["urls"]]
    pages = _judged(config, network, arguments, fetched)
    batch = Batch.of(
        pa.table({"uid": [p.url for p in pages], "url": [p.url for p in pages]}, schema=pa.schema(list(DROPPED)[:2]))
    ).drop([page.reason for page in pages], [page.evidence for page in pages])
    pairs = [pair for page in pages for pair in page.pairs]
    links = sorted({link for page in pages for link in page.links})
    fallen = Dropped()
    for page in pages:
        for _ in range(page.beyond):
            fallen.add(page.url, page.url, BEYOND, "pictures after the first 10,000")
        for why, text in page.unusable:
            fallen.add(page.url, page.url, "url_unusable", why, text or None)
    return Output(
        {
            "kept": candidates(pairs),
            "dropped": pa.concat_tables([batch.dropped, fallen.table()]),
            "links": pa.Table.from_pylist([{"url": url, "kind": kind} for url, kind in links], schema=LINKS),
        },
        {
            "pages": Fate.of(len(pages), batch),
            "pairs": Fate(len(pairs) + len(fallen), len(pairs), fallen.counts()),
        },
        telemetry={
            "retried": sum(answer.attempts > 1 and answer.reason is None for answer in fetched),
            "redirected": sum(answer.redirects > 0 and answer.reason is None for answer in fetched),
        },
    )


def _judged(
    config: SiteSource, network: NetworkConfig, arguments: Mapping[str, Any], fetched: Sequence[Fetched]
) -> list[_Page]:
    """What became of each page; those that may be looked into are parsed together."""
    found = {answer.url: _unread(config, arguments["hosts"], answer) for answer in fetched}
    readable = [answer for answer in fetched if found[answer.url] is None]
    asked = [
        Page(answer.final_url, answer.body, answer.headers.get("content-type", ""), answer.headers.get("date", ""))
        for answer in readable
    ]
    wish = {"text_from": list(config.text_from), "product": network.product}
    for answer, parsed in zip(readable, parse_all(asked, wish, network.opt_out_directives), strict=True):
        found[answer.url] = _read(config, answer, parsed, arguments.get("known", {}))
    return [page for answer in fetched if (page := found[answer.url]) is not None]


def _unread(config: SiteSource, hosts: Sequence[str], answer: Fetched) -> _Page | None:
    """A page that is not looked into, or None for one that is."""
    withheld = answer.reason == "header_opt_out"
    if answer.reason is not None and not withheld:
        return _Page(answer.url, answer.reason, answer.evidence)
    if not withheld and not belongs(answer.final_url, hosts, config.domains):
        # Another site answers: it has pages and rules of its own, so it is a link like any other.
        return _Page(answer.url, links=[(answer.final_url, "moved")])
    kind = first_value(answer.headers.get("content-type", ""))
    if kind not in HTML_TYPES and (kind or not is_markup(answer.body)):
        if withheld:
            return _Page(answer.url, answer.reason, answer.evidence)
        return _Page(answer.url, "not_html", kind or "no content type")
    return None


def _read(config: SiteSource, answer: Fetched, parsed: Parsed, known: SitemapImages) -> _Page:
    follow = not forbids_following(answer.robots)
    links = [(url, "page") for url in parsed.said.get("links", ())] if follow else []
    if answer.reason is not None:  # withheld by its header, so that a link may still be followed
        return _Page(answer.url, answer.reason, answer.evidence, links=links)
    if parsed.reason is not None:
        return _Page(answer.url, parsed.reason, parsed.evidence, links=links)
    named = known.get(answer.url, known.get(answer.final_url, ()))
    pairs = with_sitemap(parsed.pairs, named, answer.final_url, config.text_from)
    return _Page(answer.url, pairs=pairs, links=links, beyond=parsed.beyond, unusable=parsed.unusable)


def with_sitemap(
    pairs: Iterable[Mapping[str, Any]],
    named: Sequence[Sequence[str]],
    page_url: str,
    text_from: Sequence[str],
) -> Sequence[Mapping[str, Any]]:
    """A page's pairs with what the sitemap says of its pictures, those included that the page itself does not show."""
    rows = [dict(pair) for pair in pairs]
    of_url: dict[str, list[tuple[str, str]]] = {}
    licences = {url: text for url, text, origin in named if origin == SITEMAP_LICENCE}
    for url, text, origin in named:
        of_url.setdefault(url, []).extend([(text, origin)] if text and origin != SITEMAP_LICENCE else [])
    for row in rows:
        row["licence"] = licences.get(row["url"], row.get("licence"))
        more = of_url.pop(row["url"], None)
        if more:
            row["texts"] = [*map(tuple, row["texts"]), *(each for each in more if list(each) not in row["texts"])]
            row["text"], row["text_origin"] = first_text(row["texts"], text_from)
    for url, texts in of_url.items():
        text, origin = first_text(texts, text_from)
        facts = {"url": url, "text": text, "text_origin": origin, "texts": texts, "page_url": page_url}
        rows.append(facts | {"licence": licences.get(url)})
    return rows
