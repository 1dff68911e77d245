"""From pages to candidate rows: many pages in one call to the sandbox, and what their owners said about use.

A parser that dies on one page of a batch costs that page alone: the batch is then asked page by page.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.execution.batch import DROPPED
from pipeline.execution.sandbox import SandboxDied, shared
from pipeline.sources import html
from pipeline.web.directives import first_opt_out

_PAGES_PER_CALL = 64
_BYTES_PER_CALL = 8_000_000
HTML_TYPES = ("text/html", "application/xhtml+xml")
BEYOND = "too_many_pictures"


@dataclass(frozen=True)
class Page:
    """One page to parse; `extra` goes into each of its rows (crawl_id, warc_file, ...)."""

    url: str
    body: bytes
    content_type: str
    date: str = ""
    """The answer's Date header."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parsed:
    """What a page came to: pictures, or the reason why it has none. `beyond` pictures were over the limit of one page."""

    page: Page
    said: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    evidence: str | None = None

    @property
    def pairs(self) -> Iterator[dict[str, Any]]:
        for image in self.said.get("images", ()) if self.reason is None else ():
            yield {
                "url": image["url"],
                "text": image["text"],
                "text_origin": image["origin"],
                "texts": image["texts"],
                "heading": image["heading"],
                "licence": image.get("licence") or self.said["licence"],
                "page_url": self.page.url,
            } | dict(self.page.extra)

    @property
    def beyond(self) -> int:
        return int(self.said.get("beyond", 0)) if self.reason is None else 0

    @property
    def unusable(self) -> Sequence[tuple[str, str]]:
        """(why, text) of the pictures whose address is none."""
        return self.said.get("unusable", ()) if self.reason is None else ()


def parse_all(pages: Iterable[Page], wish: Mapping[str, Any], opt_outs: Sequence[str]) -> Iterator[Parsed]:
    """Every page's outcome, in order. `wish`: text_from and product, and links: false where nobody follows them."""
    batch: list[Page] = []
    size = 0
    for page in pages:
        if batch and (len(batch) >= _PAGES_PER_CALL or size + len(page.body) > _BYTES_PER_CALL):
            yield from _parse_batch(batch, wish, opt_outs)
            batch, size = [], 0
        batch.append(page)
        size += len(page.body)
    if batch:
        yield from _parse_batch(batch, wish, opt_outs)


def _parse_batch(batch: Sequence[Page], wish: Mapping[str, Any], opt_outs: Sequence[str]) -> Iterator[Parsed]:
    headers = [
        {**wish, "url": page.url, "content_type": page.content_type, "date": page.date, "bytes": len(page.body)}
        for page in batch
    ]
    said: Sequence[Mapping[str, Any]]
    try:
        if len(batch) == 1:
            raise SandboxDied("", "one page is asked alone")
        answer, _ = shared(f"{html.__name__}:parse_pages").call(
            {"pages": headers}, b"".join(page.body for page in batch)
        )
        said = answer["pages"]
    except SandboxDied:
        said = [{"error": "batch"}] * len(batch)
    for page, header, told in zip(batch, headers, said, strict=True):
        if "error" in told:
            try:
                told, _ = shared(f"{html.__name__}:parse_page").call(header, page.body)
            except SandboxDied as death:
                yield Parsed(page, reason=death.reason, evidence=death.detail)
                continue
        if "too_deep" in told:
            yield Parsed(page, reason="html_too_deep", evidence=told["too_deep"])
            continue
        word = first_opt_out(told["robots"], opt_outs)
        if word is not None:
            yield Parsed(page, told, "meta_opt_out", f"robots meta tag: {word}")
        else:
            yield Parsed(page, told)


class Dropped:
    """Rows that fell, collected for one table of schema DROPPED."""

    def __init__(self) -> None:
        self._columns: tuple[list[Any], ...] = ([], [], [], [], [])

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, uid: str, url: str, reason: str, evidence: str | None, text: str | None = None) -> None:
        uids, urls, texts, reasons, said = self._columns
        uids.append(uid)
        urls.append(url)
        texts.append(text)
        reasons.append(reason)
        said.append(evidence)

    def extend(self, uid: str, urls: list[str], reason: str) -> None:
        """Several rows with one `uid` and reason."""
        count = len(urls)
        every: tuple[list[Any], ...] = ([uid] * count, urls, [None] * count, [reason] * count, [None] * count)
        for column, values in zip(self._columns, every, strict=True):
            column += values

    def table(self) -> pa.Table:
        columns = [pa.array(column, pa.string()) for column in self._columns]
        return pa.table([*columns, pa.nulls(len(self), pa.binary())], schema=DROPPED)

    def counts(self) -> dict[str, int]:
        """Rows per reason."""
        return dict(sorted(Counter(self._columns[3]).items()))
