"""Sample: one image-text pair, and the columns it collects on its way through curation.

`uid` comes from content (URL and text), so it is the same in every run, shard order and cluster.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

TEXTS = pa.list_(pa.struct([("text", pa.string()), ("origin", pa.string())]))

STORED_COLUMNS = (
    ("image", pa.binary()),
    ("format", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("original_width", pa.int32()),
    ("original_height", pa.int32()),
    ("sha256", pa.string()),
    ("repairs", pa.list_(pa.string())),
)
"""A stored picture, and what a shard says of it."""

CANDIDATE = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),  # of the picture, absolute
        ("text", pa.string()),
        ("text_origin", pa.string()),  # where on the page: alt, title, figcaption, ...
        ("texts", TEXTS),  # every text found for the picture, `text` among them
        ("page_url", pa.string()),
        ("heading", pa.string()),  # the nearest heading above the picture
        ("licence", pa.string()),  # URL of the picture's own licence, else of the page's rel="license"
        ("crawl_id", pa.string()),  # CC-MAIN-2026-05, say
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        # <source>/<path below its folder> of a file that holds the picture; null: it is on the web
        ("location", pa.string()),
        ("location_offset", pa.int64()),  # where in that file it begins, null for 0
        ("location_bytes", pa.int64()),  # how long it is, null for the whole file
        (
            "location_version",
            pa.string(),
        ),  # SHA-256 of that file (or size and checksum of its store): another content, another row
    ]
)
"""Columns of a pair as it leaves a source; a source's own uid and scores may follow (pipeline/sources/told.py)."""
CARRIED = "carried_"
"""A source's telemetry says under this and the column's name how many of its rows have such a further column."""
FURTHER = {"source_uid": pa.string()}
"""Types of further columns; others hold float64."""


def candidates(pairs: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table of schema CANDIDATE from pairs that name at least url, text, text_origin and page_url.

    `texts` of a pair may be [(text, origin)]; without it, `text` is the only one. Column by column: pairs come in millions.
    """
    rows = list(pairs)
    columns: dict[str, pa.Array] = {}
    for field in CANDIDATE:
        if field.name == "uid":
            columns["uid"] = pa.array([pair_uid(row["url"], row["text"]) for row in rows], field.type)
        elif field.name == "texts":
            columns["texts"] = _texts_of([row.get("texts") or ((row["text"], row["text_origin"]),) for row in rows])
        else:
            columns[field.name] = pa.array([row.get(field.name) for row in rows], field.type)
    return pa.table(columns, schema=CANDIDATE)


class CandidateRows:
    """The same table, built without a mapping per pair: what the pairs of one page share is given once."""

    def __init__(self) -> None:
        self._urls: list[str] = []
        self._texts: list[str] = []
        self._origins: list[str] = []
        self._all: list[Sequence[tuple[str, str]] | None] = []
        self._shared: list[Mapping[str, Any]] = []
        self._of: list[int] = []

    def __len__(self) -> int:
        return len(self._urls)

    def page(self, shared: Mapping[str, Any]) -> None:
        """What the pairs added from now on share: page_url, licence, crawl_id, ..."""
        self._shared.append(shared)

    def add(self, url: str, text: str, origin: str, texts: Sequence[tuple[str, str]] | None = None) -> None:
        """`texts` are all (text, origin); None where `text` is the only one, as it mostly is."""
        self._urls.append(url)
        self._texts.append(text)
        self._origins.append(origin)
        self._all.append(texts)
        self._of.append(len(self._shared) - 1)

    def extend(self, urls: Sequence[str], texts: Sequence[str], origin: str) -> None:
        """Pairs whose only text is of `origin`."""
        self._urls += urls
        self._texts += texts
        self._origins += [origin] * len(urls)
        self._all += [None] * len(urls)
        self._of += [len(self._shared) - 1] * len(urls)

    def table(self) -> pa.Table:
        of = pa.array(self._of, pa.int32())
        columns: dict[str, pa.Array] = {
            "uid": uid_column(self._urls, self._texts),
            "url": pa.array(self._urls, pa.string()),
            "text": pa.array(self._texts, pa.string()),
            "text_origin": pa.array(self._origins, pa.string()),
        }
        columns["texts"] = self._texts_column(columns["text"], columns["text_origin"])
        for field in CANDIDATE:
            if field.name not in columns:
                values = [shared.get(field.name) for shared in self._shared]
                columns[field.name] = pa.array(values, field.type).take(of)
        return pa.table({name: columns[name] for name in CANDIDATE.names}, schema=CANDIDATE)

    def _texts_column(self, texts: pa.Array, origins: pa.Array) -> pa.Array:
        """Lists of (text, origin), the only ones taken from the columns there are."""
        several = [(row, said) for row, said in enumerate(self._all) if said is not None]
        sizes = np.ones(len(self._all), dtype=np.int64)
        first = np.arange(len(self._all))
        place = len(self._all)
        for row, said in several:
            sizes[row], first[row] = len(said), place
            place += len(said)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        where = pa.array(np.repeat(first - ends[:-1], sizes) + np.arange(ends[-1]))
        more = [pa.array([each[part] for _, said in several for each in said], pa.string()) for part in (0, 1)]
        flat = [pa.concat_arrays(pair).take(where) for pair in ((texts, more[0]), (origins, more[1]))]
        return pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.StructArray.from_arrays(flat, ["text", "origin"])
        )


def _texts_of(every: Sequence[Sequence[Sequence[str]]]) -> pa.Array:
    ends = np.cumsum([0, *map(len, every)], dtype=np.int32)
    texts = pa.array([text for texts in every for text, _ in texts], pa.string())
    origins = pa.array([origin for texts in every for _, origin in texts], pa.string())
    said = pa.StructArray.from_arrays([texts, origins], ["text", "origin"])
    return pa.ListArray.from_arrays(pa.array(ends), said)


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
    return hashlib.sha256(f"{url}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def uid_column(urls: Sequence[str], texts: Sequence[str]) -> pa.StringArray:
    """`pair_uid` of each pair."""
    digest = hashlib.sha256
    uids = [
        digest(f"{url}\0{text}".encode("utf-8", "surrogatepass")).digest()[:16]
        for url, text in zip(urls, texts, strict=True)
    ]
    ends = np.arange(len(uids) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(uids), pa.py_buffer(ends), pa.py_buffer(b"".join(uids).hex().encode()))
