"""Common Crawl's WAT files: the metadata that its extractor (ia-web-commons) wrote for each page, one JSON per record.

What it saw of a picture is src, alt and title (its class ImgTagExtractor); of the page, base, links, metas and the answer's
headers. So Open Graph pictures, licences and opt-outs are here too. cc2dataset reads the same files and takes pictures
with an alt only, and one record that does not parse costs it the whole file; here it costs the record.
"""

import contextlib
import functools
import gc
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.sample import CandidateRows
from pipeline.sources.archive import Record, read_records
from pipeline.sources.config import WatSource
from pipeline.sources.inputs import expanded, identified, open_blocks
from pipeline.sources.pages import Dropped
from pipeline.sources.wat_page import WatPage, parse
from pipeline.web.urls import UnusableURLError
from pipeline.web.web_config import NetworkConfig

_ANSWER = b'"HTTP-Response-Metadata"'
_PICTURES = (b'"IMG@/src"', b"og:image", b"twitter:image")


def harvest_wat(
    name: str,
    config: WatSource,
    network: NetworkConfig,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Kept rows: sample.CANDIDATE. One work item per file."""
    inputs = identified(expanded(config, f"curate.sources.{name}", network), executor, progress)
    wish = {
        "text_from": list(config.text_from),
        "product": network.product,
        "opt_outs": list(network.opt_out_directives),
        "crawl_id": config.crawl_id,
        "max_record_bytes": config.max_record_bytes,
    }
    items = [
        WorkItem(f"wat-{number:06d}", [each.identity, each.name, wish], (each.path, each.name))
        for number, each in enumerate(inputs)
    ]
    records = run_items(folder, functools.partial(_read_file, wish), items, executor, progress, f"{name}: WAT files")
    result = PhaseResult.of_records(name, folder, records)
    result.save()
    return result


def _read_file(wish: Mapping[str, Any], part: tuple[str, str]) -> Output:
    path, name = part
    with open_blocks(path) as stream, without_collector():
        return extract(read_records(stream, wish["max_record_bytes"]), wish, name)


def extract(records: Iterable[Record], wish: Mapping[str, Any], name: str) -> Output:
    """Candidate rows of one WAT file's records, in order, and the fate of records, pages and pairs."""
    rows = CandidateRows()
    fallen_records, fallen_pages, fallen_pairs = Dropped(), Dropped(), Dropped()
    seen = pages = other = 0
    crawl_id = wish["crawl_id"]
    for record in records:
        seen += 1
        payload = record.payload
        if record.damage is not None:
            fallen_records.add(f"{name}:{record.offset}", record.url, "damaged_record", record.damage)
            continue
        if record.kind == "warcinfo":
            crawl_id = crawl_id or crawl_of(payload)
        if _ANSWER not in payload:
            other += 1
            continue
        if not any(each in payload for each in _PICTURES):
            pages += 1
            continue
        try:
            page = WatPage(*parse(payload), wish, crawl_id)
        except UnusableURLError as error:
            pages += 1
            fallen_pages.add(f"{name}:{record.offset}", record.url, "url_unusable", str(error))
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fallen_records.add(f"{name}:{record.offset}", record.url, "damaged_record", type(error).__name__)
            continue
        pages += 1
        if page.reason is not None:
            fallen_pages.add(page.url, page.url, page.reason, page.evidence)
            continue
        page.pairs(rows, fallen_pairs)
    reasons = fallen_records.counts() | ({"not_a_page": other} if other else {})
    fates = {
        "records": Fate(seen, pages, reasons),
        "pages": Fate(pages, pages - len(fallen_pages), fallen_pages.counts()),
        "pairs": Fate(len(rows) + len(fallen_pairs), len(rows), fallen_pairs.counts()),
    }
    dropped = pa.concat_tables([each.table() for each in (fallen_records, fallen_pages, fallen_pairs)])
    return Output({"kept": rows.table(), "dropped": dropped}, fates)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """No search for reference cycles meanwhile: among millions of new small values, none in a cycle, it takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def crawl_of(payload: bytes) -> str | None:
    """isPartOf of a warcinfo, CC-MAIN-2026-05 say."""
    for line in payload.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"ispartof":
            return value.strip().decode("utf-8", "replace")[:64] or None
    return None
