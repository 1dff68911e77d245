"""Files that others wrote, looked through once: what was found is kept in the user's cache folder, nothing is written beside them.

A kept index goes by its file's path, size and time of change; one that is missing or damaged is made again. The id of the source is
a hash of names, sizes and of all that was found. A file that cannot be read to its end gives what lies before; what it loses is
counted (training/data/losses.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pyarrow as pa

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from training.data.config import SourceConfig
from training.data.labels import classes_of, is_number
from training.data.losses import Broken, Looked, estimated, mark_of
from training.data.part import DataFile, Part
from training.data.shard_cache import ShardCache

FOUND = pa.schema(
    [
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("captions", pa.list_(pa.string())),
        ("labels", pa.list_(pa.string())),
    ]
)
CHANGE_KEYS = ("mtime", "ETag", "etag", "LastModified", "Last-Modified", "last_modified", "md5Hash")
"""What disks, S3, Google's, Azure's and web servers call the time or the mark of a file's last change."""
INDEX_FORM = "5"
"""Part of the name of a kept index: change it with what an index holds."""


class IndexedSource(ABC):
    """A part per file. Raises ConfigError where `path` names none, and DataError where no sample is found in any."""

    ending: ClassVar[str]
    what: ClassVar[str]
    """Such files in words."""

    def __init__(self, path: str, config: SourceConfig, cache: ShardCache) -> None:
        self.name, self._config, self._cache = path, config, cache
        self._files = [_data_file(each) for each in self.files_of(path)]
        with ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(self._look_through, self._files))
        self.part_rows = tuple(rows for rows, _, _ in digests)
        looked = [
            Looked(file.path, rows, file.bytes, broken)
            for file, (rows, _, broken) in zip(self._files, digests, strict=True)
        ]
        self.lost = estimated(looked)
        if not sum(self.part_rows):
            why = next((f"{file.path}: {file.broken.reason}; " for file in looked if file.broken), "")
            raise DataError(f"{why}{path}: no sample with a picture in {len(self._files)} {self.ending[1:]} files")
        names = [file.path.rsplit("/", 1)[-1] for file in self._files]
        sizes = [file.bytes for file in self._files]
        self.id = storage.sha256(storage.canonical_json([names, sizes, [digest for _, digest, _ in digests]]))
        tables = (self._found(file) for file in self._files)
        self.has_captions = any(bool(table.column("captions").combine_chunks().flatten()) for table in tables)
        self.classes: tuple[str, ...] = ()
        self.multi_label = False
        values = list(self._label_values())
        if values:
            numbers = all(is_number(word) for row in values for word in row)
            typed = [[int(word) for word in row] if numbers else row for row in values]
            self.multi_label = any(len(row) > 1 for row in values)
            self.classes, _ = classes_of(typed, path)

    def files_of(self, path: str) -> list[str]:
        """The files that `path` means. Raises ConfigError where there are none."""
        if path.endswith(self.ending):
            return [path]
        found = [storage.join(path, name) for name in storage.list_names(path) if name.endswith(self.ending)]
        if not found:
            raise ConfigError(f"train.data.sources: {path} holds no {self.ending}; give a folder of {self.what}")
        return found

    @abstractmethod
    def look_through(self, file: DataFile, kept: str) -> pa.Table:
        """FOUND's rows of one file, in order, as far as it can be read (`losses.marked`); `kept` is where its index will lie."""

    def holder(self, file: DataFile, kept: str) -> DataFile:
        """The file in which the places of an index are."""
        return file

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
            (self.holder(file, self._kept(file)),),
            table.column("offset").to_numpy(),
            table.column("length").to_numpy(),
            table.column("captions").combine_chunks() if self.has_captions else None,
            labels if self.classes else None,
        )

    def _kept(self, file: DataFile) -> str:
        asked = [self._config.caption_column, self._config.caption_per_line, self._config.label_column]
        key = storage.sha256(storage.canonical_json([INDEX_FORM, file.path, file.bytes, list(file.changed), asked]))
        return storage.join(self._cache.folder, "indexes", key[:32] + ".parquet")

    def _look_through(self, file: DataFile) -> tuple[int, str, Broken | None]:
        """(rows, hash, what could not be read) of a file's index."""
        table = self._found(file)
        mark = mark_of(table)
        return table.num_rows, storage.sha256(storage.read_bytes(self._kept(file))), mark

    def _found(self, file: DataFile) -> pa.Table:
        """The kept index; made from the file where there is none, and where it is damaged."""
        kept = self._kept(file)
        try:
            table = storage.read_table(kept)
            if table.schema.equals(FOUND) and storage.exists(self.holder(file, kept).path):
                return table
        except (OSError, ValueError):
            pass
        storage.write_table(kept, self.look_through(file, kept))
        return storage.read_table(kept)


def _data_file(path: str) -> DataFile:
    try:
        filesystem, name = storage.filesystem_of(path)
        facts = filesystem.info(name)
        changed = tuple(str(facts[key]) for key in CHANGE_KEYS if facts.get(key) is not None)
        return DataFile(path, storage.size(path), changed=changed)
    except OSError:
        raise DataError(f"{path}: no such file; give train.data.sources files that exist") from None


def plain(text: str) -> str:
    """JSON may hold lone surrogates, which Parquet does not take."""
    return text.encode("utf-8", "replace").decode()
