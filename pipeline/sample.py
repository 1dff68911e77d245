"""Sample: one image-text pair, and the columns it collects on its way through curation.

`uid` comes from content (URL and text), so it is the same in every run, shard order and cluster.
"""

import hashlib
from dataclasses import dataclass

import pyarrow as pa

CANDIDATE = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),  # of the picture, absolute
        ("text", pa.string()),
        ("text_origin", pa.string()),  # where on the page: alt, title, figcaption, ...
        ("page_url", pa.string()),
    ]
)
"""Columns of a pair as it leaves the crawl."""


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
