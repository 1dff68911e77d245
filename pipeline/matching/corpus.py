"""A text corpus for query lists: files of many kinds, streamed into chunks of some 32 MB of text as Parquet.

MediaWiki dumps (.xml), JSON (lines, one array, objects over several lines) and Parquet with a column `text` (and `title`, where
there is one), anything else a line at a time; .gz, .bz2 and .xz are opened on the way. A line that is no JSON, or has no text,
is counted. A file that ends in the middle of its compression gives what could be read, and is counted.
"""

import codecs
import io
import itertools
import json
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.compression import compr
from fsspec.core import get_compression

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.execution.ledger import Fate, Output
from pipeline.matching.mediawiki import pages
from pipeline.sources.json_values import json_values
from pipeline.web.body import text_of, utf16_of

CHUNK_BYTES = 32 << 20
BLOCK_BYTES = 1 << 20
LINE_BYTES = 64 << 20
"""Longest line that is read whole; a longer one is cut there."""
_COMPRESSIONS = (".gz", ".bz2", ".xz")
CHUNK = pa.schema([("title", pa.string()), ("text", pa.string())])
PART = pa.schema([("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64()), ("sha256", pa.string())])

Row = dict[str, str | None]


def check_readable(key: str, path: str) -> None:
    """Raises ConfigError for what is no file that can be read twice (missing, a folder, a pipe)."""
    filesystem, name = storage.filesystem_of(path)
    if not filesystem.isfile(name):
        raise ConfigError(f"{key}: {path!r} is no file; give a text, JSON lines, Parquet or MediaWiki XML file")


def open_stream(path: str) -> IO[bytes]:
    """The file's bytes, decompressed."""
    filesystem, name = storage.filesystem_of(path)
    stream: IO[bytes] = compr[get_compression(path, "infer")](filesystem.open(name, "rb"), mode="rb")
    return stream


def kind_of(path: str) -> str:
    """xml, jsonl, json, parquet or lines, by the name."""
    name = path.lower()
    for ending in _COMPRESSIONS:
        name = name.removesuffix(ending)
    if name.endswith(".xml"):
        return "xml"
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    return next((kind for kind in ("json", "parquet") if name.endswith(f".{kind}")), "lines")


def documents(path: str, counts: dict[str, int]) -> Iterator[Row]:
    """Rows with title and text; what cannot be read is counted in `counts`."""
    kind = kind_of(path)
    try:
        with open_stream(path) as stream:
            utf16 = utf16_of(stream.read(512)) if kind in ("lines", "jsonl") else ""
        with open_stream(path) as stream:
            if kind == "xml":
                for title, text in pages(stream, path):
                    yield {"title": title, "text": text}
            elif kind == "parquet":
                yield from _parquet(stream, path)
            elif kind == "json":
                for value in _json_values(stream):
                    yield from _of_json(value, counts)
            else:
                yield from _lines(_text_lines(stream, utf16), kind == "jsonl", counts)
    except (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException):
        counts["damaged"] = counts.get("damaged", 0) + 1


def _parquet(stream: IO[bytes], path: str) -> Iterator[Row]:
    file = pq.ParquetFile(stream)
    names = [name for name in CHUNK.names if name in file.schema_arrow.names]
    if "text" not in names:
        raise DataError(f"{path}: has no column text; rename the column that holds the text")
    for batch in file.iter_batches(batch_size=4096, columns=names):
        for row in batch.to_pylist():
            yield {"title": None, **{name: None if value is None else str(value) for name, value in row.items()}}


def _text_lines(stream: IO[bytes], utf16: str) -> Iterator[str]:
    if utf16:
        wide = io.TextIOWrapper(stream, utf16, "replace", newline="\n")
        yield from iter(lambda: wide.readline(LINE_BYTES), "")
        return
    mark = codecs.BOM_UTF8
    while line := stream.readline(LINE_BYTES):
        yield text_of(line.removeprefix(mark))
        mark = b""


def _lines(lines: Iterator[str], is_json: bool, counts: dict[str, int]) -> Iterator[Row]:
    for text in lines:
        if is_json:
            yield from _of_json(text, counts)
        else:
            yield {"title": None, "text": text}


def _json_values(stream: IO[bytes]) -> Iterator[bytes]:
    """Those of an array, or one after the other."""
    head = stream.read(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip().removeprefix(b"[")
    blocks = itertools.chain([head], iter(lambda: stream.read(BLOCK_BYTES), b""))
    return (value for _, value in json_values(blocks))


def _of_json(value: str | bytes, counts: dict[str, int]) -> Iterator[Row]:
    try:
        found = json.loads(value)
        title = found.get("title")
        yield {"title": str(title) if title else None, "text": clean_surrogates(found["text"])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        counts["bad_lines"] = counts.get("bad_lines", 0) + 1


def clean_surrogates(text: Any) -> str:
    """JSON may hold lone surrogates, which no UTF-8 file can. Raises TypeError for what is no text."""
    if not isinstance(text, str):
        raise TypeError("not a text")
    return text.encode("utf-8", "replace").decode("utf-8")


def read_corpus(folder: str, item: tuple[int, str]) -> Output:
    """One corpus file as chunks `folder`/NNNN-NNNNN.parquet; the table "kept" (schema PART) lists them."""
    number, path = item
    counts: dict[str, int] = {}
    parts: list[dict[str, Any]] = []
    rows: list[Row] = []
    size = 0

    def flush() -> None:
        nonlocal rows, size
        if not rows:
            return
        data = storage.table_bytes(pa.Table.from_pylist(rows, schema=CHUNK))
        name = f"{number:04d}-{len(parts):05d}.parquet"
        storage.write_bytes(storage.join(folder, name), data)
        parts.append({"path": name, "rows": len(rows), "bytes": len(data), "sha256": storage.sha256(data)})
        rows, size = [], 0

    for row in documents(path, counts):
        text = row["text"] or ""
        rows.append({"title": row["title"], "text": text})
        size += len(text) + 64
        if size >= CHUNK_BYTES:
            flush()
    flush()
    total = sum(part["rows"] for part in parts)
    fate = Fate(
        total + counts.get("bad_lines", 0), total, {"bad_line": counts["bad_lines"]} if "bad_lines" in counts else {}
    )
    telemetry = {"damaged_files": counts.get("damaged", 0)}
    return Output({"kept": pa.Table.from_pylist(parts, schema=PART)}, {"documents": fate}, telemetry=telemetry)
