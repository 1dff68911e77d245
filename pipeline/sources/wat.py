"""Common Crawl's WAT files: the metadata that its extractor (ia-web-commons) wrote for each page, one JSON per record.

What it saw of a picture is src, alt and title (its class ImgTagExtractor); of the page, base, links, metas and the answer's
headers. So Open Graph pictures, licences and opt-outs are here too. cc2dataset reads the same files and takes pictures
with an alt only, and one record that does not parse costs it the whole file; here it costs the record.
"""

import contextlib
import functools
import gc
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, Progress, WorkItem, run_items, silent
from pipeline.sample import CandidateRows
from pipeline.sources.archive import Record, read_records
from pipeline.sources.config import WatSource
from pipeline.sources.html_metadata import shared_pictures
from pipeline.sources.html_pictures import first_text
from pipeline.sources.http_message import header_opt_out
from pipeline.sources.inputs import expanded, identified, open_blocks
from pipeline.sources.pages import BEYOND, Dropped
from pipeline.web.robots import first_opt_out, meta_directives
from pipeline.web.urls import MAX_CHARACTERS, Base, UnusableURLError, canonical, is_canonical
from pipeline.web.web_config import NetworkConfig

_MAX_PICTURES = 10_000
_ANSWER, _PICTURE, _OPEN_GRAPH = b'"HTTP-Response-Metadata"', b'"IMG@/src"', b"og:image"
_LINKS = '"Links":[{'
_IMAGE = '"IMG@/src"'
_STRING = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_PICTURE_FORM = re.compile(
    rf'\{{"path":"IMG@/src","url":{_STRING}(?:,"alt":{_STRING})?(?:,"title":{_STRING})?\}}', re.DOTALL
)


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
        if _PICTURE not in payload and _OPEN_GRAPH not in payload:
            pages += 1
            continue
        try:
            page = _Page(*parse(payload), wish, crawl_id)
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


def parse(payload: bytes) -> tuple[Any, list[tuple[str, str, str]]]:
    """The record's JSON, and (src, alt, title) of its pictures; raises ValueError where it is none.

    The page's links are most of a record, and most of them are no pictures. So pictures are found by their form, and only
    what is around the links is parsed. The list is cut up to the first `}]` after its last picture; where these bytes stand
    inside a string, an odd number of quotes is left and the rest is no JSON. Then, and where a picture has another form or
    a link names a licence, the whole record is parsed.
    """
    text = payload.decode()
    start = text.find(_LINKS)
    if start >= 0 and text.find("icense", start) < 0:
        found: list[tuple[str, str, str]] = _PICTURE_FORM.findall(text, start)
        if len(found) == text.count(_IMAGE, start):
            end = text.find("}]", max(start, text.rfind(_IMAGE)))
            with contextlib.suppress(ValueError):
                value = orjson.loads(f'{text[:start]}"Links":[]{text[end + 2 :]}')
                return value, _unescaped(found) if text.find("\\", start, end) >= 0 else found
    value = orjson.loads(payload)
    page = value["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"].get("HTML-Metadata") or {}
    links = [link for link in page.get("Links") or () if link.get("path") == "IMG@/src"]
    return value, [tuple(str(link.get(key) or "") for key in ("url", "alt", "title")) for link in links]  # type: ignore[misc]


def _unescaped(found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    def plain(cell: str) -> str:
        return str(orjson.loads(f'"{cell}"')) if "\\" in cell else cell

    return [(plain(url), plain(alt), plain(title)) for url, alt, title in found]


def crawl_of(payload: bytes) -> str | None:
    """isPartOf of a warcinfo, CC-MAIN-2026-05 say."""
    for line in payload.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"ispartof":
            return value.strip().decode("utf-8", "replace")[:64] or None
    return None


class _Page:
    """One page's metadata. Raises KeyError, TypeError, ... where the JSON is not that of a page."""

    def __init__(
        self,
        value: Mapping[str, Any],
        pictures: list[tuple[str, str, str]],
        wish: Mapping[str, Any],
        crawl_id: str | None,
    ) -> None:
        self._pictures = pictures
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
        file = container.get("Filename")
        self.shared: dict[str, Any] = {
            "page_url": self.url,
            "licence": self._licence(),
            "crawl_id": crawl_id,
            "warc_file": str(file) if file else None,
            "warc_offset": int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 18 else None,
        }

    def _opt_out(self, headers: Mapping[str, Any], wish: Mapping[str, Any]) -> tuple[str | None, str | None]:
        plain = {
            key.lower(): "\n".join(map(str, value)) if isinstance(value, list) else str(value)
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
                    return self.base.join(str(link.get("url") or link.get("href") or ""))
                except UnusableURLError:
                    continue
        return None

    def pairs(self, rows: CandidateRows, fallen: Dropped) -> None:
        """A row per picture with a text; the others go to `fallen`."""
        rows.page(self.shared)
        join, text_from, first, page_url = self.base.join, self._text_from, self._text_from[0], self.url
        shared: dict[str, list[tuple[str, str]]] = {}
        for word, told_of in shared_pictures(self._metas):
            with contextlib.suppress(UnusableURLError):
                told = shared.setdefault(join(word), [])
                told += [(" ".join(text.split()), origin) for text, origin in told_of if text.strip()]
        silent: list[str] = []  # two of five have no text: their address stays as the page writes it
        urls: list[str] = []  # pairs with one text, from the origin that is asked for first
        said_of: list[str] = []

        def flush() -> None:
            rows.extend(urls, said_of, first)
            urls.clear()
            said_of.clear()

        plain = not shared and first == "alt"
        for word, alt, title in self._pictures[:_MAX_PICTURES]:
            clean, said = " ".join(alt.split()) if alt else "", " ".join(title.split()) if title else ""
            if not (clean or said or shared):
                silent.append(word)
                continue
            try:
                url = word if word[:4] == "http" and is_canonical(word) else join(word)
            except UnusableURLError as error:
                fallen.add(page_url, page_url, "url_unusable", str(error), clean or said or None)
                continue
            if plain and clean and not said:
                urls.append(url)
                said_of.append(clean)
                continue
            texts = [(text, origin) for text, origin in ((clean, "alt"), (said, "title")) if text]
            if shared and url in shared:
                texts += [each for each in shared.pop(url) if each not in texts]
            if urls:
                flush()  # rows stay in the order of the page
            if texts and texts[0][1] == first:
                rows.add(url, texts[0][0], first, texts)
            else:
                self._add(url, texts, rows, fallen, text_from)
        flush()
        fallen.extend(page_url, [word[:MAX_CHARACTERS] for word in silent], "text_empty")
        for _ in self._pictures[_MAX_PICTURES:]:
            fallen.add(page_url, page_url, BEYOND, f"pictures after the first {_MAX_PICTURES:,}")
        for url, texts in shared.items():
            self._add(url, list(dict.fromkeys(texts)), rows, fallen, text_from)

    def _add(
        self, url: str, texts: list[tuple[str, str]], rows: CandidateRows, fallen: Dropped, text_from: list[str]
    ) -> None:
        text, origin = first_text(texts, text_from) if texts else ("", "")
        if text:
            rows.add(url, text, origin, texts)
        else:
            fallen.add(self.url, url, "text_empty", None)
