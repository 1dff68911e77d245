"""Files on any fsspec URL (local, s3://, gs://, ...): whole-file reads, atomic writes, checksums, Parquet tables.

A file either exists complete or does not exist: local writes go to a temporary name in the same folder, are synced and
renamed; an object store's put is atomic by itself. Nothing here appends. What is too large for memory: streams.py.
"""

import functools
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DamagedFileError, DataError
from pipeline.stores import filesystem_of


def join(root: str, *parts: str) -> str:
    """`root/part/part`, for local paths and URLs alike."""
    return "/".join([root.rstrip("/") or "/", *(part.strip("/") for part in parts)])


def is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")


def exists(path: str) -> bool:
    filesystem, name = filesystem_of(path)
    return bool(filesystem.exists(name))


def size(path: str) -> int:
    filesystem, name = filesystem_of(path)
    return int(filesystem.size(name))


def read_bytes(path: str) -> bytes:
    """The whole file; a local one may be a pipe, as a shell's <(command) gives."""
    filesystem, name = filesystem_of(path)
    with open(name, "rb") if is_local(path) else filesystem.open(name, "rb") as file:
        return bytes(file.read())


def write_bytes(path: str, data: bytes) -> None:
    """Write the whole file or nothing. Raises DataError when the disk is full or the folder cannot be written."""
    filesystem, name = filesystem_of(path)
    try:
        filesystem.makedirs(name.rsplit("/", 1)[0], exist_ok=True)
        if not is_local(path):
            filesystem.pipe_file(name, data)
            return
        temporary = f"{name}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, name)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)
    except OSError as error:
        raise unwritable(path, error) from error


def write_soon(path: str, data: bytes) -> None:
    """Write a file that nobody misses: neither synced nor whole at once."""
    filesystem, name = filesystem_of(path)
    try:
        filesystem.makedirs(name.rsplit("/", 1)[0], exist_ok=True)
        filesystem.pipe_file(name, data)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written ({error.strerror or error}); free space or choose another --root")


@dataclass(frozen=True)
class Written:
    """A file that is on storage: its size and checksum, found while it was written."""

    bytes: int
    sha256: str


def settled(path: str, data: bytes | Written) -> Written:
    """`data` is at `path` from now on, where it was not already."""
    if isinstance(data, Written):
        return data
    write_bytes(path, data)
    return Written(len(data), sha256(data))


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value (sorted keys, no spaces), so that equal values have equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_json(path: str) -> Any:
    return json.loads(read_bytes(path))


def write_json(path: str, value: Any) -> None:
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str) -> str:
    filesystem, name = filesystem_of(path)
    digest = hashlib.sha256()
    with filesystem.open(name, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def list_names(folder: str) -> list[str]:
    """Names directly under `folder`, sorted (object stores list in different orders); [] where it does not exist."""
    filesystem, name = filesystem_of(folder)
    if not filesystem.exists(name):
        return []
    return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in filesystem.ls(name, detail=False))


def remove_tree(path: str) -> None:
    filesystem, name = filesystem_of(path)
    if filesystem.exists(name):
        filesystem.rm(name, recursive=True)


PLAIN_COLUMN = "image"
"""Column of pictures in tables of curation: written as it is (they are compressed already), so that each can be read by
its offset (pipeline/datasets/picture_places.py). What lies beside it is a thirtieth of it, and written as it is too: to make
it smaller took longer than all else of writing the table."""
_AS_IT_IS = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def table_bytes(table: pa.Table) -> bytes:
    """Parquet, one row group, zstd but with pictures, each page with its checksum: the same table gives the same bytes, however it
    is cut into chunks."""
    sink = pa.BufferOutputStream()  # a third of the time that a Python file object takes: Arrow writes a column in bits
    table = table.combine_chunks()
    options = _AS_IT_IS if PLAIN_COLUMN in table.column_names else {"compression": "zstd"}
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True, **options) as writer:
        writer.write_table(table, row_group_size=max(1, table.num_rows))
    return bytes(sink.getvalue().to_pybytes())


def table_writer(sink: Any, schema: pa.Schema, plain: str) -> pq.ParquetWriter:
    """Parquet, zstd, but for the column `plain`, whose values lie in the file as they are: for what users read."""
    others = _leaves(schema, plain)
    return pq.ParquetWriter(
        sink,
        schema,
        compression=dict.fromkeys(others, "ZSTD"),
        use_dictionary=others,
        write_statistics=others,
        write_page_checksum=True,
    )


@functools.lru_cache(maxsize=64)
def _leaves(schema: pa.Schema, plain: str) -> list[str]:
    """Parquet's names of all columns but `plain`, those of nested values among them."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    leaves = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [leaves.column(at).path for at in range(len(leaves)) if leaves.column(at).path != plain]


def write_table(path: str, table: pa.Table) -> None:
    write_bytes(path, table_bytes(table))


def read_table(path: str, columns: list[str] | None = None) -> pa.Table:
    """One Parquet file as a table, or some columns of it (the others are not even read: pictures weigh the most).

    Raises DamagedFileError where its bytes are no Parquet, or not those that were written.
    """
    if columns is None:
        data = read_bytes(path)
        with whole(path):
            return parse_table(data)
    filesystem, name = filesystem_of(path)
    with filesystem.open(name, "rb") as file, whole(path):
        return pq.ParquetFile(file, page_checksum_verification=True).read(columns).select(columns)


def parse_table(data: bytes, columns: list[str] | None = None) -> pa.Table:
    """Parquet in memory as a table. pq.read_table does the same by way of a data set, in twice the time for a small one."""
    source = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True)
    table = source.read(columns, use_threads=False)
    return table if columns is None else table.select(columns)


@contextmanager
def whole(path: str) -> Iterator[None]:
    """What Arrow says of bytes that it cannot read, as one line with a way out. What the system says stays as it is."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DamagedFileError(f"{path}: damaged; remove it and run again, it is then made anew") from error


def read_without_pictures(path: str) -> pa.Table:
    """The table less its PLAIN_COLUMN: for phases after `fetch`, which need not carry pictures on (pipeline/datasets/pack.py)."""
    return read_table(path, [name for name in read_schema(path).names if name != PLAIN_COLUMN])


def read_schema(path: str) -> pa.Schema:
    """The columns of a Parquet file; only its foot is read. Raises DamagedFileError."""
    filesystem, name = filesystem_of(path)
    with filesystem.open(name, "rb") as file, whole(path):
        return pq.read_schema(file)


def row_count(path: str) -> int:
    """The rows of a Parquet file as its foot says; nothing else is read. Raises DamagedFileError."""
    filesystem, name = filesystem_of(path)
    with filesystem.open(name, "rb") as file, whole(path):
        return int(pq.read_metadata(file).num_rows)
