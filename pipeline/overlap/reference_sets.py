"""The pictures that training data must not contain, from wherever they are: a benchmark's loader, a folder of pictures, a
Parquet file with a picture per row, or a finished dataset.

Each becomes a `ReferenceSet`: its name, how many pictures it has, a fingerprint of its content, and a function that reads
pictures `start` to `stop` of it as rows (index, key, image). Nothing is read before a work item asks.
"""

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.datasets.shards import read_index
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import NAME as MANIFEST
from pipeline.manifest import Manifest
from pipeline.pictures.picture_config import FILE_ENDINGS

PICTURES = pa.schema([("index", pa.int64()), ("key", pa.string()), ("image", pa.binary())])
IMAGE_NAMES = ("image", "jpg", "png", "webp", "img", "image.bytes", "bytes")
"""Columns that hold a row's picture, the first that is there: bytes, or Hugging Face's struct of bytes and path."""
FOOTER_BYTES = 1 << 16
"""A Parquet file's footer holds the sizes and statistics of its columns: enough to tell that it changed."""


@dataclass(frozen=True)
class ReferenceSet:
    """`name` is the benchmark's; `read(start, stop)` gives a table of schema PICTURES and must be picklable."""

    name: str
    count: int
    identity: str
    read: Callable[[int, int], pa.Table]


def given_sets(paths: Sequence[str], taken: Sequence[str] = ()) -> list[ReferenceSet]:
    """The sets at `paths`, each called by the last part of its path. Raises ConfigError for one that cannot be read.

    `taken` are names that benchmarks have already.
    """
    found: list[ReferenceSet] = []
    for path in paths:
        one = given_set(path)
        if one.name in (*taken, *(other.name for other in found)):
            raise ConfigError(
                f"curate.decontaminate.against: {path!r} is the second set called '{one.name}'; rename or link one of them"
            )
        found.append(one)
    return found


def given_set(path: str) -> ReferenceSet:
    """The set at `path`: a finished dataset, a Parquet file, or a folder of Parquet files or pictures."""
    name = path.rstrip("/").rsplit("/", 1)[-1].removesuffix(".parquet")
    key = f"curate.decontaminate.against: {path!r}"
    try:
        if storage.exists(storage.join(path, MANIFEST)):
            return _dataset(name, path)
        if path.endswith(".parquet") and storage.exists(path):
            return _parquet(name, [path], key)
        files = _walk(path)
    except OSError as error:
        raise ConfigError(f"{key} cannot be read ({error.strerror or error}); correct the path") from error
    tables = [path for path, _ in files if path.endswith(".parquet")]
    if tables:
        return _parquet(name, tables, key)
    pictures = [(file, size) for file, size in files if file.lower().endswith(FILE_ENDINGS)]
    if not pictures:
        raise ConfigError(
            f"{key} holds no pictures; give a folder of pictures ({', '.join(FILE_ENDINGS)}), a Parquet file with a column"
            " of pictures, or a finished dataset"
        )
    root = storage.join(path, "")
    keys = [file.removeprefix(root) for file, _ in pictures]
    identity = [[key, size] for key, (_, size) in zip(keys, pictures, strict=True)]
    return ReferenceSet(name, len(keys), _hash("folder", identity), functools.partial(_read_folder, path, tuple(keys)))


def _hash(*parts: Any) -> str:
    return storage.sha256(storage.canonical_json(list(parts)))


def _walk(path: str) -> list[tuple[str, int]]:
    """(path, bytes) of all files below `path`, sorted."""
    filesystem, below = storage.filesystem_of(path)
    found = filesystem.find(below, detail=True)
    start = below.rstrip("/")
    return sorted((storage.join(path, name.removeprefix(start)), int(info["size"])) for name, info in found.items())


def _read_folder(path: str, keys: tuple[str, ...], start: int, stop: int) -> pa.Table:
    images = [storage.read_bytes(storage.join(path, key)) for key in keys[start:stop]]
    return _pictures(start, list(keys[start:stop]), images)


def _pictures(start: int, keys: Sequence[str], images: Sequence[bytes]) -> pa.Table:
    return pa.table([range(start, start + len(keys)), keys, images], schema=PICTURES)


def _parquet(name: str, paths: Sequence[str], key: str) -> ReferenceSet:
    firsts, marks, total = [], [], 0
    for path in paths:
        try:
            with _opened(path) as file:
                reader = pq.ParquetFile(file)
                column = _image_column(reader.schema_arrow)
                rows = reader.metadata.num_rows
                size = file.seek(0, io.SEEK_END)
                file.seek(max(0, size - FOOTER_BYTES))
                marks.append([size, storage.sha256(file.read())])
        except pa.ArrowException as error:
            raise ConfigError(f"{key}: {path.rsplit('/', 1)[-1]} is no Parquet file ({error})"[:300]) from None
        if column is None:
            raise ConfigError(f"{key}: has no column of pictures; name it one of {', '.join(IMAGE_NAMES)}")
        firsts.append(total)
        total += rows
    places = tuple(zip(firsts, paths, strict=True))
    return ReferenceSet(name, total, _hash("parquet", marks), functools.partial(_read_parquet, places))


def _image_column(schema: pa.Schema) -> str | None:
    """The first of IMAGE_NAMES that holds bytes, or a struct with bytes in it."""
    for name in IMAGE_NAMES:
        if name in schema.names:
            kind = schema.field(name).type
            inner = (
                kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
            )
            if pa.types.is_binary(inner) or pa.types.is_large_binary(inner):
                return name
    return None


def _read_parquet(places: tuple[tuple[int, str], ...], start: int, stop: int) -> pa.Table:
    """Rows start..stop of the files one after the other, reading the row groups that hold them only."""
    indices: list[int] = []
    images: list[bytes] = []
    for first, path in places:
        if first >= stop:
            break
        with _opened(path) as file:
            reader = pq.ParquetFile(file)
            column = _image_column(reader.schema_arrow)
            row = first
            for group in range(reader.num_row_groups):
                rows = reader.metadata.row_group(group).num_rows
                if row < stop and row + rows > start:
                    wanted = range(max(start, row), min(stop, row + rows))
                    values = reader.read_row_group(group, [column]).column(0).slice(wanted.start - row, len(wanted))
                    indices += wanted
                    images += [_bytes(value) for value in values.to_pylist()]
                row += rows
    return pa.table([indices, [str(index) for index in indices], images], schema=PICTURES)


def _opened(path: str) -> Any:
    filesystem, name = storage.filesystem_of(path)
    return filesystem.open(name, "rb")


def _bytes(value: Any) -> bytes:
    """A null is an empty picture, which falls as not_an_image."""
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


def _dataset(name: str, folder: str) -> ReferenceSet:
    manifest = Manifest.load(folder)
    return ReferenceSet(name, manifest.rows, _hash("dataset", manifest.id), functools.partial(_read_dataset, folder))


def _read_dataset(folder: str, start: int, stop: int) -> pa.Table:
    first, keys, images = 0, [], []
    for shard in Manifest.load(folder).shards:
        rows = range(max(start, first), min(stop, first + shard.rows))
        if len(rows):
            index = read_index(folder, shard, ["key", "image_offset", "image_bytes"])
            index = index.slice(rows.start - first, len(rows))
            with _opened(storage.join(folder, shard.tar)) as tar:
                for key, offset, length in zip(*(index.column(i).to_pylist() for i in range(3)), strict=True):
                    tar.seek(offset)
                    keys.append(key)
                    images.append(bytes(tar.read(length)))
        first += shard.rows
    if len(keys) != stop - start:
        raise DataError(f"{folder}: pictures {start} to {stop} are not all there; its manifest says {first:,}")
    return _pictures(start, keys, images)
