"""The other dataset of `against`: its rows from its shards' indexes, and from its pictures what these do not hold.

An index that openwit wrote has sha256 and both pHashes of every picture as it was downloaded. Thumbnails it has not: they are
made from the stored pictures of those rows alone that are near one of ours. An index without pHashes (an adopted dataset) costs a
look at each of its pictures. A stored picture that was cropped or framed has no thumbnail to compare.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.errors import ConfigError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress
from pipeline.manifest import Manifest, Shard
from pipeline.pictures.picture_config import PictureConfig
from pipeline.pictures.picture_row import picture_row
from pipeline.streams import read_ranges

KINDS = {"phash": pa.uint64(), "phash256": pa.binary(), "sha256": pa.string(), "thumbnail8": pa.binary()}
PLACE = ("image_offset", "image_bytes")
SIDES = ("width", "height", "original_width", "original_height")
WINDOW = 64
"""Pictures that are read at once."""
_HEXADECIMAL = re.compile("[0-9a-f]+")
_LOOK = PictureConfig(accept_truncated=True, maximum_aspect_ratio=1e9, maximum_pixels=1 << 30).picture_header()


Made = Mapping[int, tuple[str, str]]
"""What was made of some shards' pictures: shard -> (path of a table with `position`, its sha256)."""


@dataclass(frozen=True)
class OtherDataset:
    """Shards by number; row r of the shard that begins at `starts[n]` has the position -1 - starts[n] - r."""

    folder: str
    shards: tuple[Shard, ...]
    starts: tuple[int, ...]
    columns: tuple[str, ...]
    looks: Made = field(default_factory=dict)
    """Where pHashes had to be made: tables of position, phash, phash256, thumbnail8, a row per row of the index."""

    @staticmethod
    def open(config: DeduplicateConfig) -> "OtherDataset":
        """Raises DataError where there is no dataset, ConfigError where what the configuration asks for cannot be had of it."""
        assert config.against is not None
        manifest = Manifest.load(config.against)
        starts = np.concatenate([[0], np.cumsum([shard.rows for shard in manifest.shards])]).astype(int)
        indexes = [storage.join(config.against, shard.index) for shard in manifest.shards[:1]]
        columns = tuple(storage.read_schema(indexes[0]).names) if indexes else (*KINDS, *PLACE)
        _check(config, columns)
        return OtherDataset(config.against, manifest.shards, tuple(starts.tolist()), columns)

    def identity(self, number: int) -> list[Any]:
        made = self.looks[number][1] if number in self.looks else None
        return [self.shards[number].index_sha256, self.starts[number], made]

    def items(self, name: str) -> list[WorkItem]:
        """A work item per shard; its argument is -1 - the shard's number, which no block of ours has."""
        return [WorkItem(f"{name}-{n:05d}", self.identity(n), -1 - n) for n in range(len(self.shards))]

    def rows(self, number: int, names: Sequence[str]) -> pa.Table:
        """(uid, `names`, position) of a shard's rows; a column that it has not is null."""
        made = storage.read_table(self.looks[number][0]) if number in self.looks else pa.table({})
        index = self._index(number, ["uid", *(set(names) & set(self.columns))])
        columns = {"uid": pc.cast(index.column("uid"), pa.string())}
        for name in names:
            source = made if name in made.column_names else index
            none = pa.nulls(index.num_rows, KINDS[name])
            columns[name] = _plain(name, source.column(name)) if name in source.column_names else none
        return pa.table(columns | {"position": pa.array(self._positions(number))})

    def with_hashes(self, folder: str, executor: Executor, progress: Progress) -> "OtherDataset":
        """This dataset with the looks of all its pictures, where its indexes have no pHashes and name the pictures' places."""
        if {"phash", "phash256"} <= set(self.columns) or not set(PLACE) <= set(self.columns):
            return self
        return replace(self, looks=self._looks(dict.fromkeys(range(len(self.shards))), folder, executor, progress))

    def thumbnails(
        self, wanted: Mapping[int, Sequence[tuple[str, str]]], folder: str, executor: Executor, progress: Progress
    ) -> Made:
        """Tables with position and thumbnail8 of the rows that `wanted` names: shard -> (path of a table of positions, sha256)."""
        missing = {n: files for n, files in wanted.items() if n not in self.looks}
        return {**self.looks, **self._looks(missing, folder, executor, progress)}

    def _looks(
        self, wanted: Mapping[int, Any], folder: str, executor: Executor, progress: Progress
    ) -> dict[int, tuple[str, str]]:
        items = []
        for number, files in sorted(wanted.items()):
            which = [sha256 for _, sha256 in files] if files is not None else None
            identity = [self.identity(number), self.shards[number].tar_sha256, which]
            items.append(WorkItem(f"look-{number:05d}", identity, (number, files and [path for path, _ in files])))
        records = run_items(folder, functools.partial(_look, self), items, executor, progress, "pictures there")
        files_of = zip(sorted(wanted), (record.files["looks"] for record in records), strict=True)
        return {number: (storage.join(folder, file.path), file.sha256) for number, file in files_of}

    def _index(self, number: int, columns: list[str]) -> pa.Table:
        return storage.read_table(storage.join(self.folder, self.shards[number].index), columns)

    def _positions(self, number: int) -> np.ndarray:
        return -1 - np.arange(self.starts[number], self.starts[number + 1])


def _check(config: DeduplicateConfig, columns: Sequence[str]) -> None:
    lacks = ["sha256"] if config.bytes and "sha256" not in columns else []
    switch = "bytes=false"
    if not lacks and config.pictures and not set(PLACE) <= set(columns):
        lacks, switch = [name for name in ("phash", "thumbnail8") if name not in columns], "pictures=false"
        if lacks == ["thumbnail8"]:
            lacks, switch = ([], "") if config.thumbnails == "ignored" else (lacks, "thumbnails=ignored")
        if lacks:
            lacks.append(f"and no {' and '.join(PLACE)}, by which its pictures could be looked at")
    if lacks:
        raise ConfigError(
            f"curate.deduplicate.against: {config.against!r} has no column {', '.join(lacks)} in its index; make that"
            f" dataset anew, or set curate.deduplicate.{switch}"
        )


def _plain(name: str, column: Any) -> Any:
    """Hashes may be numbers and bytes, or the hexadecimal words that other tools write."""
    wanted = KINDS[name]
    if name == "sha256" or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return pc.cast(column, wanted)
    words = [word if word and _HEXADECIMAL.fullmatch(word) else None for word in column.to_pylist()]
    if name == "phash":
        return pa.array([None if word is None else int(word[-16:], 16) for word in words], wanted)
    return pa.array([None if word is None or len(word) % 2 else bytes.fromhex(word) for word in words], wanted)


def _look(other: OtherDataset, given: tuple[int, list[str] | None]) -> Output:
    """(position, phash, phash256, thumbnail8) of a shard's rows, or of those that some tables name; null where it cannot be
    decoded."""
    number, named = given
    rows = other._index(number, [*PLACE, *(name for name in SIDES if name in other.columns)])
    positions = other._positions(number)
    if named is not None:
        some = np.unique(np.concatenate([storage.read_table(path).column("position").to_numpy() for path in named]))
        rows = rows.take(pa.array(np.flatnonzero(np.isin(positions, some))))
        positions = positions[np.isin(positions, some)]
    path = storage.join(other.folder, other.shards[number].tar)
    found: list[dict[str, Any]] = []
    for start in range(0, rows.num_rows, WINDOW):
        places = rows.slice(start, WINDOW).to_pylist()
        pictures = read_ranges(
            [path] * len(places), [row["image_offset"] for row in places], [row["image_bytes"] for row in places]
        )
        for row, picture in zip(places, pictures, strict=True):
            seen = picture_row(_LOOK, picture, "look")
            found.append(seen if _is_whole(row) else seen | {"thumbnail8": None})
    names = ("phash", "phash256", "thumbnail8")
    looks = {name: pa.array([seen.get(name) for seen in found], KINDS[name]) for name in names}
    table = pa.table({"position": pa.array(positions)} | looks)
    return Output({"looks": table}, {"rows": Fate(table.num_rows, table.num_rows)})


def _is_whole(row: Mapping[str, Any]) -> bool:
    """Whether the stored picture has the original's shape: nothing was cut off, no border was laid around it."""
    sides = [row.get(name) for name in SIDES]
    if any(not side for side in sides):
        return True
    width, height, wide, high = (int(side) for side in sides if side)
    return abs(width * high - height * wide) <= max(wide, high)
