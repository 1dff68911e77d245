"""Indexes of archives: which file holds a page, where it begins and how long it is.

CDXJ (pywb, Common Crawl's cdx-*.gz): `key timestamp {"filename", "offset", "length", "mime", "status"}` per line. Common
Crawl's columnar index: Parquet with warc_filename, warc_record_offset, warc_record_length, content_mime_detected,
fetch_status. So a small corpus needs range reads of its own pages and no whole crawl.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress
from pipeline.sources.inputs import Input, open_blocks
from pipeline.sources.lines import lines_of
from pipeline.sources.pages import Dropped

POINTERS = pa.schema([("file", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64())])
_PARQUET = ("warc_filename", "warc_record_offset", "warc_record_length")
_MAX_BYTES = 1 << 40
_HTML = ("text/html", "application/xhtml+xml", "warc/revisit", "unk", "")


@dataclass(frozen=True, order=True)
class Pointer:
    """One record's place."""

    file: str
    offset: int
    bytes: int

    @property
    def end(self) -> int:
        return self.offset + self.bytes


def pointer_items(
    lists: Sequence[Input],
    prefix: str,
    size: int,
    wish: Mapping[str, Any],
    folder: str,
    executor: Executor,
    progress: Progress,
) -> tuple[list[WorkItem], Fate]:
    """Work items, and the fate of the index's lines. An item has up to `size` records, in the order of file and offset.

    The driver holds one index file's places at a time, about 100 bytes each.
    """
    read = run_items(
        storage.join(folder, "index"),
        _read_index,
        [WorkItem(f"index-{number:05d}", each.identity, each.path) for number, each in enumerate(lists)],
        executor,
        progress,
        "index",
    )
    items = []
    for number, record in enumerate(read):
        table = storage.read_table(storage.join(folder, "index", record.files["kept"].path))
        rows = [Pointer(*row) for row in zip(*(table.column(name).to_pylist() for name in POINTERS.names), strict=True)]
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            identity = [storage.sha256(storage.canonical_json([asdict(each) for each in part])), wish]
            items.append(WorkItem(f"pages-{number:05d}-{start:09d}", identity, part))
    return items, Fate.sum([record.fates["lines"] for record in read])


def _read_index(path: str) -> Output:
    """Places of HTML pages with status 200, sorted, each once; other lines are counted."""
    found: set[Pointer] = set()
    fallen = Dropped()
    seen = 0
    for pointer, reason in _pointers(path):
        seen += 1
        if pointer is None:
            fallen.add(f"line {seen}", "", reason, None)
        elif pointer in found:
            fallen.add(f"line {seen}", "", "duplicate_record", None)
        else:
            found.add(pointer)
    rows = sorted(found)
    columns = {name: [getattr(row, name) for row in rows] for name in POINTERS.names}
    fates = {"lines": Fate(seen, len(rows), fallen.counts())}
    return Output({"kept": pa.table(columns, schema=POINTERS), "dropped": fallen.table()}, fates)


def _pointers(path: str) -> Iterator[tuple[Pointer | None, str]]:
    with open_blocks(path) as stream:
        head = stream.read(4)
        stream.seek(0)
        if head == b"PAR1":
            yield from _of_parquet(stream)
        else:
            for line in lines_of(stream):
                if line.strip() and not line.startswith(b"!"):
                    yield _of_line(line)


def _of_line(line: bytes) -> tuple[Pointer | None, str]:
    start = line.find(b"{")
    try:
        value = orjson.loads(line[start:]) if start >= 0 else {}
        pointer = Pointer(str(value["filename"]), int(value["offset"]), int(value["length"]))
    except (ValueError, KeyError, TypeError):
        return None, "damaged_line"
    return _judged(pointer, value.get("status"), value.get("mime-detected") or value.get("mime"))


def _judged(pointer: Pointer, status: Any, media: Any) -> tuple[Pointer | None, str]:
    if not (0 <= pointer.offset < _MAX_BYTES and 0 < pointer.bytes < _MAX_BYTES and _below(pointer.file)):
        return None, "damaged_line"
    if str(status or "200") not in ("200", "-"):
        return None, "http_error"
    return (pointer, "") if str(media or "").lower() in _HTML else (None, "not_html")


def _below(name: str) -> bool:
    """An index names files below the source's prefix, whoever wrote it."""
    return bool(name) and not name.startswith(("/", "\\")) and "://" not in name and ".." not in name.split("/")


def _of_parquet(stream: Any) -> Iterator[tuple[Pointer | None, str]]:
    try:
        file = pq.ParquetFile(stream)
        names = [*_PARQUET, *(name for name in ("fetch_status", "content_mime_detected") if name in file.schema.names)]
        for batch in file.iter_batches(columns=names):
            for row in batch.to_pylist():
                if None in (row[name] for name in _PARQUET):
                    yield None, "damaged_line"
                    continue
                pointer = Pointer(row[_PARQUET[0]], row[_PARQUET[1]], row[_PARQUET[2]])
                yield _judged(pointer, row.get("fetch_status"), row.get("content_mime_detected"))
    except (pa.ArrowException, OSError, KeyError, TypeError):
        yield None, "damaged_file"
