"""Common Crawl's WAT files: the metadata that its extractor (ia-web-commons) wrote for each page, one JSON per record.

What it saw of a picture is src, alt and title (its class ImgTagExtractor); of the page, base, links, metas and the answer's
headers. So Open Graph pictures, licences and opt-outs are here too. cc2dataset reads the same files and takes pictures
with an alt only, and one record that does not parse costs it the whole file; here it costs the record.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from pipeline.executor import Executor
from pipeline.html_metadata import shared_pictures
from pipeline.html_pictures import first_text
from pipeline.ledger import Fate, Output, PhaseResult, Progress, WorkItem, run_items, silent
from pipeline.robots import first_opt_out, meta_directives
from pipeline.sample import candidates
from pipeline.sources.archive import Record, read_records
from pipeline.sources.config import WatSource
from pipeline.sources.http_message import header_opt_out
from pipeline.sources.inputs import expanded, identified, open_blocks
from pipeline.sources.pages import BEYOND, Dropped
from pipeline.urls import Base, UnusableURLError, canonical
from pipeline.web_config import NetworkConfig

_MAX_PICTURES = 10_000
_ANSWER, _PICTURE, _OPEN_GRAPH = b'"HTTP-Response-Metadata"', b'"IMG@/src"', b"og:image"


def harvest_wat(
    name: str,
    config: WatSource,
    network: NetworkConfig,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Kept rows: sample.CANDIDATE. One work item per file."""
    inputs = identified(expanded(config, f"curate.sources.{name}"), executor, progress)
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
    with open_blocks(path) as stream:
        return extract(read_records(stream, wish["max_record_bytes"]), wish, name)


def extract(records: Iterable[Record], wish: Mapping[str, Any], name: str) -> Output:
    """Candidate rows of one WAT file's records, in order, and the fate of records, pages and pairs."""
    pairs: list[Mapping[str, Any]] = []
    fallen_pages, fallen_pairs = Dropped(), Dropped()
    seen = pages = found = other = 0
    crawl_id = wish["crawl_id"]
    for record in records:
        seen += 1
        if record.damage is not None:
            fallen_pages.add(f"{name}:{record.offset}", record.url, "damaged_record", record.damage)
            continue
        if record.kind == "warcinfo":
            crawl_id = crawl_id or crawl_of(record.payload)
        if _ANSWER not in record.payload:
            other += 1
            continue
        pages += 1
        if _PICTURE not in record.payload and _OPEN_GRAPH not in record.payload:
            continue
        try:
            page = _Page(orjson.loads(record.payload), wish)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = "url_unusable" if isinstance(error, UnusableURLError) else "damaged_record"
            fallen_pages.add(f"{name}:{record.offset}", record.url, reason, type(error).__name__)
            pages -= reason == "damaged_record"
            continue
        if page.reason is not None:
            fallen_pages.add(page.url, page.url, page.reason, page.evidence)
            continue
        page.origin = {"crawl_id": crawl_id} | page.origin
        for pair in page.pairs(fallen_pairs):
            found += 1
            if pair is not None:
                pairs.append(pair)
    pages_fallen = fallen_pages.counts()
    damaged = pages_fallen.pop("damaged_record", 0)
    both = Dropped()
    both.rows = fallen_pages.rows + fallen_pairs.rows
    reasons = {name: count for name, count in (("damaged_record", damaged), ("not_a_page", other)) if count}
    fates = {
        "records": Fate(seen, pages, reasons),
        "pages": Fate(pages, pages - sum(pages_fallen.values()), pages_fallen),
        "pairs": Fate(found, len(pairs), fallen_pairs.counts()),
    }
    return Output({"kept": candidates(pairs), "dropped": both.table()}, fates)


def crawl_of(payload: bytes) -> str | None:
    """isPartOf of a warcinfo, CC-MAIN-2026-05 say."""
    for line in payload.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"ispartof":
            return value.strip().decode("utf-8", "replace")[:64] or None
    return None


class _Page:
    """One page's metadata. Raises KeyError, TypeError, ... where the JSON is not that of a page."""

    def __init__(self, value: Mapping[str, Any], wish: Mapping[str, Any]) -> None:
        envelope = value["Envelope"]
        answer = envelope["Payload-Metadata"]["HTTP-Response-Metadata"]
        page = answer.get("HTML-Metadata") or {}
        self._head: Mapping[str, Any] = page.get("Head") or {}
        self._links: list[Mapping[str, Any]] = page.get("Links") or []
        self._text_from: list[str] = wish["text_from"]
        self.url = canonical(envelope["WARC-Header-Metadata"]["WARC-Target-URI"])
        self.base = Base(self.url)
        word = self._head.get("Base")
        if word:
            with contextlib.suppress(UnusableURLError):
                self.base = Base(self.base.join(str(word)))
        self._metas = [
            (str(meta.get("name") or meta.get("property") or ""), str(meta.get("content") or ""))
            for meta in self._head.get("Metas") or ()
        ]
        self.reason, self.evidence = self._opt_out(answer.get("Headers") or {}, wish)
        container = value.get("Container") or {}
        offset = str(container.get("Offset", ""))
        self.origin: dict[str, Any] = {
            "page_url": self.url,
            "licence": self._licence(),
            "warc_file": container.get("Filename") or None,
            "warc_offset": int(offset) if offset.isascii() and offset.isdigit() else None,
        }

    def _opt_out(self, headers: Mapping[str, Any], wish: Mapping[str, Any]) -> tuple[str | None, str | None]:
        plain = {
            key.lower(): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            for key, value in headers.items()
            if key.lower() in ("x-robots-tag", "tdm-reservation")
        }
        evidence = header_opt_out(plain, wish["product"], wish["opt_outs"]) if plain else None
        if evidence is not None:
            return "header_opt_out", evidence
        word = first_opt_out(meta_directives(self._metas, wish["product"]), wish["opt_outs"])
        return ("meta_opt_out", f"robots meta tag: {word}") if word is not None else (None, None)

    def _licence(self) -> str | None:
        for link in (*(self._head.get("Link") or ()), *self._links):
            if "rel" in link and "license" in str(link["rel"]).lower().split():
                try:
                    return self.base.join(link.get("url") or link.get("href") or "")
                except UnusableURLError:
                    continue
        return None

    def pairs(self, fallen: Dropped) -> Iterator[Mapping[str, Any] | None]:
        """A row per picture with a text; None for one that fell, which `fallen` tells of."""
        count = 0
        shared: dict[str, list[tuple[str, str]]] = {}
        for word, texts in shared_pictures(self._metas):
            clean = [(" ".join(text.split()), origin) for text, origin in texts if text.strip()]
            try:
                shared.setdefault(self.base.join(word), []).extend(clean)
            except UnusableURLError:
                continue
        for link in self._links:
            if link.get("path") != "IMG@/src":
                continue
            count += 1
            if count > _MAX_PICTURES:
                fallen.add(self.url, self.url, BEYOND, f"pictures after the first {_MAX_PICTURES:,}")
                yield None
                continue
            texts = [
                (clean, origin)
                for origin in ("alt", "title")
                if (text := link.get(origin)) and (clean := " ".join(str(text).split()))
            ]
            try:
                url = self.base.join(str(link.get("url") or ""))
            except UnusableURLError as error:
                fallen.add(self.url, self.url, "url_unusable", str(error), texts[0][0] if texts else None)
                yield None
                continue
            more = shared.pop(url, None)
            if more:
                texts += [each for each in more if each not in texts]
            yield self._row(url, texts, fallen)
        for url, texts in shared.items():
            yield self._row(url, list(dict.fromkeys(texts)), fallen)

    def _row(self, url: str, texts: list[tuple[str, str]], fallen: Dropped) -> Mapping[str, Any] | None:
        text, origin = first_text(texts, self._text_from) if texts else ("", "")
        if not text:
            fallen.add(self.url, url, "text_empty", None)
            return None
        return {"url": url, "text": text, "text_origin": origin, "texts": texts, **self.origin}
