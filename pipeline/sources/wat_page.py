"""One page of a WAT file: its pictures with their texts and addresses, what its owner said about use, its licence.

The page's links are most of a record, and most of them are no pictures: the compiled scan (wat_scan.py) finds the pictures,
and only what is around the links is parsed as JSON.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from pipeline.sample import CandidateRows
from pipeline.sources import wat_scan
from pipeline.sources.html_metadata import META_NAMES, shared_pictures
from pipeline.sources.html_pictures import first_text
from pipeline.sources.http_message import header_opt_out
from pipeline.sources.pages import BEYOND, Dropped
from pipeline.sources.wat_scan import ABSOLUTE, CLEAN, ROOTED, SILENT
from pipeline.web.directives import first_opt_out, meta_directives
from pipeline.web.urls import MAX_CHARACTERS, Base, UnusableURLError, canonical, is_canonical

_MAX_PICTURES = 10_000
_LINKS = b'"Links":[{'
Picture = tuple[int, str, str, str]
"""(bits of what is known about it, src, alt, title)"""


def parse(payload: bytes) -> tuple[Any, list[Picture]]:
    """The record's JSON, and its pictures; raises ValueError where it is none.

    The list of links is cut up to the first `}]` after its last picture; where these bytes stand inside a string, an odd
    number of quotes is left and the rest is no JSON. Then, and where a picture has another form or a link may name a
    licence, the whole record is parsed.
    """
    start = payload.find(_LINKS)
    if start >= 0:
        data = np.frombuffer(payload, np.uint8)
        if not wat_scan.names_licence(data, start):
            found = np.empty((_MAX_PICTURES, wat_scan.COLUMNS), np.int32)
            count, last = wat_scan.scan(data, start, found)
            end = payload.find(b"}]", last) if count >= 0 else -1
            if end >= 0:
                with contextlib.suppress(ValueError):
                    value = orjson.loads(b'%b"Links":[]%b' % (payload[:start], payload[end + 2 :]))
                    return value, _cut(payload, start, last, found[:count])
    value = orjson.loads(payload)
    page = value["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"].get("HTML-Metadata") or {}
    links = [link for link in page.get("Links") or () if link.get("path") == "IMG@/src"]
    return value, [(0, *(str(link.get(key) or "") for key in ("url", "alt", "title"))) for link in links]  # type: ignore[misc]


def _cut(payload: bytes, start: int, last: int, found: np.ndarray) -> list[Picture]:
    """The pictures' words out of the record. Raises UnicodeDecodeError (a ValueError) where the record is no UTF-8."""
    text = payload.decode()
    places = found.tolist()
    if len(text) == len(payload):
        pictures = [
            (kind, text[a:b], text[c:d] if c else "", text[e:f] if e else "") for kind, a, b, c, d, e, f in places
        ]
    else:
        pictures = [
            (kind, payload[a:b].decode(), payload[c:d].decode() if c else "", payload[e:f].decode() if e else "")
            for kind, a, b, c, d, e, f in places
        ]
    if payload.find(b"\\", start, last) < 0:
        return pictures
    return [(kind, _plain(url), _plain(alt), _plain(title)) for kind, url, alt, title in pictures]


def _plain(cell: str) -> str:
    return str(orjson.loads(f'"{cell}"')) if "\\" in cell else cell


class WatPage:
    """One page's metadata. Raises KeyError, TypeError, ... where the JSON is not that of a page."""

    def __init__(
        self,
        value: Mapping[str, Any],
        pictures: list[Picture],
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
        metas = self._head.get("Metas") or ()
        self._metas = [
            (str(meta[key]), str(meta.get("content") or "")) for meta in metas for key in META_NAMES if meta.get(key)
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
            if key[:1] in "xXtTdD" and key.lower() in ("x-robots-tag", "tdm-reservation", "date")
        }
        evidence = header_opt_out(plain, wish["product"], wish["opt_outs"]) if len(plain) > ("date" in plain) else None
        if evidence is not None:
            return "header_opt_out", evidence
        word = first_opt_out(meta_directives(self._metas, wish["product"], plain.get("date", "")), wish["opt_outs"])
        return ("meta_opt_out", f"robots meta tag: {word}") if word is not None else (None, None)

    def _licence(self) -> str | None:
        for link in (*(self._head.get("Link") or ()), *self._links):
            rel = link.get("rel")
            if rel and rel != "stylesheet" and "license" in str(rel).lower().split():
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

        origin = self.base.clean_origin
        for kind, word, alt, title in self._pictures[:_MAX_PICTURES]:
            if kind & SILENT and not shared:
                silent.append(word)
                continue
            if kind & ABSOLUTE:
                url = word
            elif kind & ROOTED and origin:
                url = origin + word
            else:
                url = ""
            if kind & CLEAN and url and first == "alt" and url not in shared:
                urls.append(url)
                said_of.append(alt)
                continue
            clean, said = " ".join(alt.split()) if alt else "", " ".join(title.split()) if title else ""
            if not (clean or said or shared):
                silent.append(word)
                continue
            try:
                url = url or (word if word[:4] == "http" and is_canonical(word) else join(word))
            except UnusableURLError as error:
                fallen.add(page_url, page_url, "url_unusable", str(error), clean or said or None)
                continue
            if clean and not said and first == "alt" and url not in shared:
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
