"""Sample: one image-text pair, and the columns it collects on its way through curation.

`uid` comes from content (URL and text), so it is the same in every run, shard order and cluster.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

TEXTS = pa.list_(pa.struct([("text", pa.string()), ("origin", pa.string())]))

CANDIDATE = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),  # of the picture, absolute
        ("text", pa.string()),
        ("text_origin", pa.string()),  # where on the page: alt, title, figcaption, ...
        ("texts", TEXTS),  # every text found for the picture, `text` among them
        ("page_url", pa.string()),
        ("heading", pa.string()),  # the nearest heading above the picture
        ("licence", pa.string()),  # URL of the page's rel="license", where it names one
        ("crawl_id", pa.string()),  # CC-MAIN-2026-05, say
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        (
            "location",
            pa.string(),
        ),  # <source>/<path below its folder> of a file that holds the picture; null: it is on the web
        ("location_offset", pa.int64()),  # where in that file it begins, null for 0
        ("location_bytes", pa.int64()),  # how long it is, null for the whole file
    ]
)
"""Columns of a pair as it leaves a source."""


def candidates(pairs: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table of schema CANDIDATE from pairs that name at least url, text, text_origin and page_url."""
    rows = [
        {"uid": pair_uid(pair["url"], pair["text"]), "texts": [_text(pair["text"], pair["text_origin"])]} | dict(pair)
        for pair in pairs
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATE)


def _text(text: str, origin: str) -> dict[str, str]:
    return {"text": text, "origin": origin}


@dataclass(frozen=True)
class Sample:
    """A pair in a finished shard: `image` is an encoded picture, `width` and `height` are its pixels."""

    key: str
    uid: str
    url: str
    page_url: str
    text: str
    image: bytes
    width: int
    height: int


def pair_uid(url: str, text: str) -> str:
    """128 bits of SHA-256 over URL and text, in hex (the form DataComp's subsets use)."""
    return hashlib.sha256(
        url.encode("utf-8", "surrogatepass") + b"\0" + text.encode("utf-8", "surrogatepass")
    ).hexdigest()[:32]
