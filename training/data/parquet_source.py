"""Parquet with pictures in it that others wrote, img2dataset (output_format=parquet) or Hugging Face, as a source.

Pictures lie in compressed pages there, so that one alone cannot be read by its place. Each file is read once, some rows at a time,
and its pictures are laid one behind the other in the cache folder, beside the index: that takes the data's disk space once more.
"""

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import ConfigError, DataError, UserError
from training.data.class_label import class_names
from training.data.config import SourceConfig
from training.data.indexed_source import FOUND, IndexedSource
from training.data.losses import Broken, marked, told_beside
from training.data.part import DataFile

PICTURES = ("jpg", "jpeg", "png", "webp", "image", "img", "image_bytes", "bytes")
CAPTIONS = ("caption", "text", "txt", "TEXT")
"""Looked for in this order where `caption_column` is left at its default."""
ROWS = 256


class ParquetSource(IndexedSource):
    """A row with a picture is a sample; captions and labels are columns, labels by the names that the file gives to them."""

    ending = ".parquet"
    what = "Parquet files with a column of pictures"

    def holder(self, file: DataFile, kept: str) -> DataFile:
        path = kept.removesuffix(".parquet") + ".pictures"
        return DataFile(path, os.path.getsize(path) if os.path.exists(path) else 0)

    def look_through(self, file: DataFile, kept: str) -> pa.Table:
        broken: list[Broken] = []
        samples = _readable(self._cache.local(file), file, self._config, broken)
        target = self.holder(file, kept).path
        temporary = f"{target}.{os.getpid()}"
        rows: list[dict[str, Any]] = []
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(temporary, "wb") as sink:
                for picture, captions, labels in samples:
                    rows.append({"offset": sink.tell(), "length": len(picture), "captions": captions, "labels": labels})
                    sink.write(picture)
            os.replace(temporary, target)
        except OSError as error:
            raise storage.unwritable(target, error) from error
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)
        return marked(pa.Table.from_pylist(rows, schema=FOUND), broken[0] if broken else None)


def _readable(
    path: str, file: DataFile, config: SourceConfig, broken: list[Broken]
) -> Iterator[tuple[bytes, list[str], list[str] | None]]:
    """Samples as far as the file can be read; what stops it before its end is put into `broken`."""
    rows, done = None, 0
    try:
        source = pq.ParquetFile(path)
        rows = source.metadata.num_rows
        for sample in _Columns(source.schema_arrow, config, file.path).samples(source):
            done += len(sample[0])
            yield sample
    except (OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, UserError):
            raise
        what = "no Parquet file" if rows is None else "a broken Parquet file"
        told = told_beside(file.path)
        said = f"{what} ({(str(error).splitlines() or [''])[0]:.200})"
        broken.append(Broken(said, done, max(0, file.bytes - done), rows if told is None else told))


class _Columns:
    """Which columns are a file's pictures, captions and labels. Raises ConfigError for one that was named and is not there."""

    def __init__(self, schema: pa.Schema, config: SourceConfig, path: str) -> None:
        found = picture_column(schema)
        if found is None:
            raise DataError(f"{path}: no column of pictures; its columns: {', '.join(schema.names)}")
        self._picture, self._label = found, config.label_column
        named = config.caption_column
        self._caption = named if named in schema.names else None
        if self._caption is None and named == SourceConfig().caption_column:
            self._caption = next((name for name in CAPTIONS if name in schema.names), None)
        elif self._caption is None:
            raise _missing(path, named, schema)
        if self._label is not None and self._label not in schema.names:
            raise _missing(path, self._label, schema)
        self._per_line = config.caption_per_line
        self._names = class_names(schema, self._label) if self._label is not None else None
        self._path = path

    def samples(self, source: pq.ParquetFile) -> Iterator[tuple[bytes, list[str], list[str] | None]]:
        """(picture, captions, labels) of each row that has a picture."""
        names = [name for name in (self._picture, self._caption, self._label) if name is not None]
        for batch in source.iter_batches(ROWS, columns=names):
            for row in batch.to_pylist():
                picture = row[self._picture]
                picture = picture.get("bytes") if isinstance(picture, dict) else picture
                if picture:
                    yield picture, self._captions(row), self._labels(row)

    def _captions(self, row: dict[str, Any]) -> list[str]:
        value = row[self._caption] if self._caption is not None else None
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        lines = [line for text in texts for line in (text.splitlines() if self._per_line else [text])]
        return [line.strip() for line in lines if line.strip()]

    def _labels(self, row: dict[str, Any]) -> list[str] | None:
        value = row[self._label] if self._label is not None else None
        values = value if isinstance(value, list) else [value]
        if self._names is not None:
            return [name for each in values if (name := self._name(each)) is not None] or None
        return [str(each) for each in values if isinstance(each, str | int) and not isinstance(each, bool)] or None

    def _name(self, value: Any) -> str | None:
        """What the file's own list calls a number. Raises DataError for one outside it."""
        if not isinstance(value, int) or value == -1:
            return value if isinstance(value, str) else None
        assert self._names is not None
        if not 0 <= value < len(self._names):
            raise DataError(
                f"{self._path}: a label is {value:,}, and the file names {len(self._names):,} classes; get it anew"
            )
        return self._names[value]


def picture_column(schema: pa.Schema) -> str | None:
    """The column that holds encoded pictures, by its name and type; None where there is none."""
    able = [field.name for field in schema if _holds_bytes(field.type)]
    return next((name for name in PICTURES if name in able), able[0] if len(able) == 1 else None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):  # Hugging Face: {bytes, path}
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _missing(path: str, name: str, schema: pa.Schema) -> ConfigError:
    return ConfigError(f"train.data.sources: {path} has no column {name!r}; its columns: {', '.join(schema.names)}")
