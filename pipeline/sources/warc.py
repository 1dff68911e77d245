"""Pages of WARC and ARC files: whole files, or the records that an index (CDXJ or Common Crawl's Parquet) points to.

The answer's headers and the page's own tags decide whether it may be used, as on a live site; its HTML is parsed in the
sandbox, many pages at a time.
"""

import functools
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.errors import DataError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.sample import CandidateRows
from pipeline.sources.archive import Record, read_records
from pipeline.sources.config import WarcSource
from pipeline.sources.http_message import header_opt_out, is_markup, plain_body, read_message
from pipeline.sources.index import Pointer, pointer_items
from pipeline.sources.inputs import expanded, identified, matching, open_blocks, readable
from pipeline.sources.pages import BEYOND, HTML_TYPES, Dropped, Page, Parsed, parse_all
from pipeline.sources.wat import crawl_of
from pipeline.web.body import BrokenError, TooLargeError
from pipeline.web.directives import first_value
from pipeline.web.urls import UnusableURLError, canonical
from pipeline.web.web_config import NetworkConfig

_MAX_GAP = 1 << 16  # records that lie this close are read in one go


def harvest_warc(
    name: str,
    config: WarcSource,
    network: NetworkConfig,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Kept rows: sample.CANDIDATE, with a text. One work item per file, or per some thousand index lines."""
    key = f"curate.sources.{name}"
    wish = {
        "text_from": list(config.text_from),
        "product": network.product,
        "opt_outs": list(network.opt_out_directives),
        "crawl_id": config.crawl_id,
        "max_record_bytes": config.max_record_bytes,
        "max_page_bytes": config.max_page_bytes,
    }
    records = []
    lines: Fate | None = None
    if config.files or config.paths_file:
        inputs = identified(expanded(config, key, network) if config.index is None else [], executor, progress)
        items = [
            WorkItem(f"warc-{number:06d}", [each.identity, each.name, wish], (each.path, each.name))
            for number, each in enumerate(inputs)
        ]
        records += run_items(folder, functools.partial(_read_file, wish), items, executor, progress, f"{name}: WARC")
    if config.index is not None:
        lists = identified(
            sorted({p for each in config.index for p in matching(each, key, network)}), executor, progress
        )
        prefix = readable(config.prefix, key, network) if config.prefix else ""
        pointed, lines = pointer_items(lists, prefix, config.records_per_item, wish, folder, executor, progress)
        records += run_items(
            folder, functools.partial(_read_pointed, wish, prefix), pointed, executor, progress, f"{name}: WARC"
        )
    result = PhaseResult.of_records(name, folder, records)
    if lines is not None:
        result = replace(result, fates={"lines": lines, **result.fates})
    result.save()
    return result


def _read_file(wish: Mapping[str, Any], part: tuple[str, str]) -> Output:
    path, name = part
    with open_blocks(path) as stream:
        return extract(((name, record) for record in read_records(stream, wish["max_record_bytes"])), wish)


def _read_pointed(wish: Mapping[str, Any], prefix: str, pointers: Sequence[Pointer]) -> Output:
    return extract(_pointed(pointers, prefix, wish["max_record_bytes"]), wish)


def _pointed(pointers: Sequence[Pointer], prefix: str, max_record_bytes: int) -> Iterator[tuple[str, Record]]:
    """The records at the given places; neighbours of one file come in one range read."""
    run: list[Pointer] = []
    for pointer in [*pointers, None]:
        ends = run and (
            pointer is None
            or pointer.file != run[0].file
            or pointer.offset > run[-1].end + _MAX_GAP
            or pointer.end - run[0].offset > max_record_bytes
        )
        if ends:
            yield from _read_run(run, prefix, max_record_bytes)
            run = []
        if pointer is not None:
            run.append(pointer)


def _read_run(run: Sequence[Pointer], prefix: str, max_record_bytes: int) -> Iterator[tuple[str, Record]]:
    path = f"{prefix.rstrip('/')}/{run[0].file}" if prefix else run[0].file
    start = run[0].offset
    try:
        with open_blocks(path, start, max(each.end for each in run) - start) as stream:
            data = stream.read()
    except FileNotFoundError:
        yield from ((each.file, Record(each.offset, damage="the file is not there")) for each in run)
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); run again when it can") from error
    for each in run:
        part = data[each.offset - start : each.end - start]
        found = next(iter(read_records(io.BytesIO(part), max_record_bytes)), Record(0, damage="no bytes at this place"))
        yield each.file, replace(found, offset=each.offset)


def extract(records: Iterable[tuple[str, Record]], wish: Mapping[str, Any]) -> Output:
    """Candidate rows of (file name, record), in order, and the fate of records, pages and pairs."""
    collector = _Collector(wish)
    asked = {"text_from": wish["text_from"], "product": wish["product"], "links": False}
    for parsed in parse_all(collector.pages(records), asked, wish["opt_outs"]):
        collector.take(parsed)
    return collector.output()


class _Collector:
    """What became of the records of one work item."""

    def __init__(self, wish: Mapping[str, Any]) -> None:
        self._wish = wish
        self._crawl_id: str | None = wish["crawl_id"]
        self._seen = self._other = self._pages = 0
        self._rows = CandidateRows()
        self._fallen_records, self._fallen_pages, self._fallen_pairs = Dropped(), Dropped(), Dropped()

    def pages(self, records: Iterable[tuple[str, Record]]) -> Iterator[Page]:
        """The pages worth parsing."""
        for name, record in records:
            self._seen += 1
            if record.damage is not None:
                self._fallen_records.add(f"{name}:{record.offset}", record.url, "damaged_record", record.damage)
                continue
            if record.kind == "warcinfo":
                self._crawl_id = self._crawl_id or crawl_of(record.payload)
            if record.kind not in ("response", "resource"):
                self._other += 1
                continue
            self._pages += 1
            try:
                page = self._page(name, record)
            except UnusableURLError as error:
                page = ("url_unusable", str(error))
            except TooLargeError:
                page = ("too_large", f"over {self._wish['max_page_bytes']} bytes")
            except BrokenError as error:
                page = ("damaged_body", str(error))
            if isinstance(page, Page):
                yield page
            else:
                self._fallen_pages.add(f"{name}:{record.offset}", record.url, *page)

    def _page(self, name: str, record: Record) -> Page | tuple[str, str | None]:
        """The page, or (reason, evidence)."""
        message = read_message(record.payload)
        headers: Mapping[str, str] = message.headers
        if message.status == 0:
            if record.headers.get("content-type", "").lower().startswith("application/http"):
                return "http_error", "the record is no HTTP answer"
            headers = {"content-type": record.headers.get("content-type", "")}
        elif message.status != 200:
            return "not_found" if message.status in (404, 410) else "http_error", f"status {message.status}"
        evidence = header_opt_out(headers, self._wish["product"], self._wish["opt_outs"])
        if evidence is not None:
            return "header_opt_out", evidence
        content_type = headers.get("content-type", "")
        kind = first_value(content_type)
        if kind not in HTML_TYPES and (kind or not is_markup(message.body)):
            return "not_html", kind or "no content type"
        url = canonical(record.url)
        body = plain_body(message, self._wish["max_page_bytes"], b"warc-truncated:" in record.head.lower())
        origin = {"crawl_id": self._crawl_id, "warc_file": name, "warc_offset": record.offset}
        return Page(url, body, content_type, headers.get("date", ""), origin)

    def take(self, parsed: Parsed) -> None:
        """The pictures of one page."""
        page = parsed.page
        if parsed.reason is not None:
            self._fallen_pages.add(page.url, page.url, parsed.reason, parsed.evidence)
            return
        for _ in range(parsed.beyond):
            self._fallen_pairs.add(page.url, page.url, BEYOND, "pictures after the first 10,000")
        for why, text in parsed.unusable:
            self._fallen_pairs.add(page.url, page.url, "url_unusable", why, text or None)
        shared = {"page_url": page.url, "licence": parsed.said["licence"], "heading": None} | dict(page.extra)
        self._rows.page(shared)
        for image in parsed.said["images"]:
            if not image["text"]:
                self._fallen_pairs.add(page.url, image["url"], "text_empty", None)
                continue
            licence = image.get("licence") or parsed.said["licence"]
            if (image["heading"], licence) != (shared["heading"], shared["licence"]):
                shared = shared | {"heading": image["heading"], "licence": licence}
                self._rows.page(shared)
            texts = image["texts"] if len(image["texts"]) > 1 else None
            self._rows.add(image["url"], image["text"], image["origin"], texts)

    def output(self) -> Output:
        records, pages, pairs = (
            each.counts() for each in (self._fallen_records, self._fallen_pages, self._fallen_pairs)
        )
        reasons = records | ({"not_a_page": self._other} if self._other else {})
        fates = {
            "records": Fate(self._seen, self._pages, reasons),
            "pages": Fate(self._pages, self._pages - sum(pages.values()), pages),
            "pairs": Fate(len(self._rows) + len(self._fallen_pairs), len(self._rows), pairs),
        }
        fallen = (self._fallen_records, self._fallen_pages, self._fallen_pairs)
        dropped = pa.concat_tables([each.table() for each in fallen])
        return Output({"kept": self._rows.table(), "dropped": dropped}, fates)
