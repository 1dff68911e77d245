"""What the data says of its samples by position, for people: key, url, caption (training/watching/replay.py).

The loader needs none of it, so it is looked up where it lies: the name of the member in the tar, the row of the index beside
the tar (ours, or img2dataset's).
"""

import posixpath
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.streams import read_ranges
from training.data.sources import Data, Place

TAR_HEADER = 512
TAR_NAME = 100


@dataclass(frozen=True)
class SampleFacts:
    """`position` counts over the whole data; `url` and `caption` are empty where the data does not say them."""

    position: int
    key: str
    url: str
    caption: str
    file: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_samples(data: Data, positions: Sequence[int]) -> list[SampleFacts]:
    """In the order asked for; several captions of a picture are joined by " | ". Raises DataError for an unreadable file."""
    indexes: dict[str, list[dict[str, Any]]] = {}
    out = []
    for position, place in zip(positions, data.places(np.asarray(positions)), strict=True):
        path = place.part.file(place.row).path
        if path not in indexes:
            indexes[path] = _index_beside(path)
        row = _row_of(place, path, indexes[path])
        key = str(row.get("key") or _member_name(place, path))
        out.append(SampleFacts(position, key, str(row.get("url") or ""), _caption(place), path))
    return out


def _caption(place: Place) -> str:
    if place.part.captions is None:
        return ""
    value = place.part.captions[place.row].as_py()
    return " | ".join(value) if isinstance(value, list) else value or ""


def _index_beside(path: str) -> list[dict[str, Any]]:
    """Rows of key, url and, in ours, image_offset; none where there is no table beside the file."""
    folder, name = posixpath.split(path)
    stem, ending = posixpath.splitext(name)
    table = {".tar": f"{folder}/{stem}.parquet", ".parquet": f"{folder}/index/{stem}.parquet"}.get(ending)
    if table is None or not storage.exists(table):
        return []
    names = [each for each in ("key", "url", "image_offset") if each in storage.read_schema(table).names]
    rows: list[dict[str, Any]] = storage.read_table(table, names).to_pylist()
    return rows


def _row_of(place: Place, path: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {}
    if "image_offset" in rows[0]:
        offset = int(place.part.offsets[place.row])
        return next((row for row in rows if row["image_offset"] == offset), {})
    key = _member_name(place, path)
    return next((row for row in rows if str(row.get("key")) == key), {})


def _member_name(place: Place, path: str) -> str:
    """The sample's key: its name in the tar without the ending (a header of 512 bytes stands before each member)."""
    offset = int(place.part.offsets[place.row])
    if not path.endswith(".tar") or offset < TAR_HEADER:
        return posixpath.basename(path)
    header = read_ranges([path], [offset - TAR_HEADER], [TAR_HEADER])[0]
    name = header[:TAR_NAME].split(b"\0", 1)[0].decode("utf-8", "replace")
    return name.rsplit(".", 1)[0]
