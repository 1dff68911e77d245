"""WebDataset tars without a manifest (img2dataset, open_clip, DataComp) as a source; nothing is written beside them.

Each tar is looked through once: its headers (pipeline/datasets/tar_members.py) and its small members, .txt, .json, .cls. What
was found is kept in the user's cache folder, under the tar's path, size and time of change. The id of the source is a hash of
names, sizes and of all that was found.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline import storage
from pipeline.datasets.tar_members import Member, readable_members, sample_of
from pipeline.errors import ConfigError, DataError
from training.data.config import SourceConfig
from training.data.labels import classes_of
from training.data.part import DataFile, Part
from training.data.shard_cache import ShardCache

PICTURES = ("jpg", "jpeg", "png", "webp")
MAX_SMALL_BYTES = 1 << 20
"""Longest text, label or JSON that is read."""
FOUND = pa.schema(
    [
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("captions", pa.list_(pa.string())),
        ("labels", pa.list_(pa.string())),
    ]
)
INDEX_FORM = "2"
"""Part of the name of a kept index: change it with what an index holds."""
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class TarSource:
    """Raises ConfigError where `path` names no tar, and DataError where no sample is found in any."""

    def __init__(self, path: str, config: SourceConfig, cache: ShardCache) -> None:
        self.name, self._config, self._cache = path, config, cache
        self._files = [_data_file(tar) for tar in tars_of(path)]
        with ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(self._look_through, self._files))
        self.part_rows = tuple(rows for rows, _ in digests)
        if not sum(self.part_rows):
            raise DataError(f"{path}: no sample with a picture in {len(self._files)} tars")
        names = [file.path.rsplit("/", 1)[-1] for file in self._files]
        sizes = [file.bytes for file in self._files]
        self.id = storage.sha256(storage.canonical_json([names, sizes, [digest for _, digest in digests]]))
        tables = (self._found(file) for file in self._files)
        self.has_captions = any(bool(table.column("captions").combine_chunks().flatten()) for table in tables)
        self.classes: tuple[str, ...] = ()
        self.multi_label = False
        values = list(self._label_values())
        if values:
            numbers = all(word.isdecimal() for row in values for word in row)
            typed = [[int(word) for word in row] if numbers else row for row in values]
            self.multi_label = any(len(row) > 1 for row in values)
            self.classes, _ = classes_of(typed, path)

    def _label_values(self) -> Iterator[list[str]]:
        for file in self._files:
            column = self._found(file).column("labels")
            if column.null_count < len(column):
                yield from (row for row in column.to_pylist() if row)

    def part(self, number: int) -> Part:
        file, table = self._files[number], self._found(self._files[number])
        labels = table.column("labels").combine_chunks()
        if not self.multi_label:
            labels = pa.array([row[0] if row else None for row in labels.to_pylist()], pa.string())
        return Part(
            (file,),
            table.column("offset").to_numpy(),
            table.column("length").to_numpy(),
            table.column("captions").combine_chunks() if self.has_captions else None,
            labels if self.classes else None,
        )

    def _kept(self, file: DataFile) -> str:
        filesystem, name = storage.filesystem_of(file.path)
        facts = filesystem.info(name)
        changed = [str(facts.get(key)) for key in ("mtime", "ETag", "etag", "LastModified", "md5Hash") if key in facts]
        asked = [self._config.caption_column, self._config.caption_per_line, self._config.label_column]
        key = storage.sha256(storage.canonical_json([INDEX_FORM, file.path, file.bytes, changed, asked]))
        return storage.join(self._cache.folder, "indexes", key[:32] + ".parquet")

    def _look_through(self, file: DataFile) -> tuple[int, str]:
        """(rows, hash) of a tar's index, made where it is not kept already."""
        table = self._found(file)
        return table.num_rows, storage.sha256(storage.read_bytes(self._kept(file)))

    def _found(self, file: DataFile) -> pa.Table:
        """The kept index; made from the tar where there is none, and where it is damaged."""
        kept = self._kept(file)
        try:
            table = storage.read_table(kept)
            if table.schema.equals(FOUND):
                return table
        except (OSError, ValueError):
            pass
        with open(self._cache.local(file), "rb") as tar:
            storage.write_table(kept, pa.Table.from_pylist(list(_samples(tar, self._config)), schema=FOUND))
        return storage.read_table(kept)


def tars_of(path: str) -> list[str]:
    """Paths of tars: of a folder, of one tar, or of a pattern such as s3://bucket/{00000..00127}.tar."""
    braces = _BRACES.search(path)
    if braces:
        first, last = braces.groups()
        numbers = range(int(first), int(last) + 1)
        paths = [f"{path[: braces.start()]}{n:0{len(first)}d}{path[braces.end() :]}" for n in numbers]
        return [each for expanded in paths for each in tars_of(expanded)]
    if path.endswith(".tar"):
        return [path]
    found = [storage.join(path, name) for name in storage.list_names(path) if name.endswith(".tar")]
    if not found:
        raise ConfigError(f"train.data.sources: {path} holds no .tar; give a folder of WebDataset shards")
    return found


def _data_file(path: str) -> DataFile:
    try:
        return DataFile(path, storage.size(path))
    except OSError:
        raise DataError(f"{path}: no such file; give train.data.sources tars that exist") from None


def _samples(tar: BinaryIO, config: SourceConfig) -> Iterator[dict[str, Any]]:
    """FOUND's rows, for each key with a picture."""
    found = readable_members(tar, Counter())
    for _, group in groupby(found, key=lambda member: sample_of(member.name)[0]):
        parts: dict[str, Member] = {}
        for member in group:
            parts.setdefault(sample_of(member.name)[1], member)
        picture = next((parts[kind] for kind in PICTURES if kind in parts), None)
        if picture is None:
            continue
        label_in_json = config.label_column is not None and "cls" not in parts
        meta = _meta(tar, parts) if label_in_json or "txt" not in parts else {}
        captions = _captions(tar, parts, meta, config)
        labels = _labels(tar, parts, meta, config)
        yield {"offset": picture.offset, "length": picture.size, "captions": captions, "labels": labels}


def _captions(tar: BinaryIO, parts: Mapping[str, Member], meta: Mapping[str, Any], config: SourceConfig) -> list[str]:
    text = _small(tar, parts.get("txt"))
    if text is not None:
        whole = text.decode("utf-8", "replace").strip()
        lines = whole.splitlines() if config.caption_per_line else [whole]
        return [line.strip() for line in lines if line.strip()]
    value = meta.get(config.caption_column)
    return [_plain(each) for each in (value if isinstance(value, list) else [value]) if isinstance(each, str) and each]


def _labels(
    tar: BinaryIO, parts: Mapping[str, Member], meta: Mapping[str, Any], config: SourceConfig
) -> list[str] | None:
    text = _small(tar, parts.get("cls"))
    if text is not None:
        return text.decode("utf-8", "replace").replace(",", " ").split() or None
    value = meta.get(config.label_column or "")
    values = value if isinstance(value, list) else [value]
    return [_plain(str(each)) for each in values if isinstance(each, str | int) and not isinstance(each, bool)] or None


def _small(tar: BinaryIO, member: Member | None) -> bytes | None:
    if member is None or member.size > MAX_SMALL_BYTES:
        return None
    tar.seek(member.offset)
    return tar.read(member.size)


def _meta(tar: BinaryIO, parts: Mapping[str, Member]) -> Mapping[str, Any]:
    try:
        value = json.loads(_small(tar, parts.get("json")) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _plain(text: str) -> str:
    """JSON may hold lone surrogates, which Parquet does not take."""
    return text.encode("utf-8", "replace").decode()
