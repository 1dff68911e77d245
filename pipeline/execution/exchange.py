"""Exchange: bring rows with an equal key into the same bucket, in bounded memory (the shuffle of map and reduce).

    cut      one item per input file: `prepare` makes the rows to send, which go to B buckets by their key; the pieces of all
             buckets lie in one file, one behind the other, with their offsets at its end
    gather   one item per bucket: its piece of every file, concatenated and sorted

An item holds one input file or one bucket at a time, never the whole pool. There are as many files as items: a file per
piece would be their product, millions for a large pool.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline import storage
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, File, Output, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.streams import read_ranges

PIECES = "pieces"

Prepare = Callable[[pa.Table], pa.Table]
Finish = Callable[[pa.Table], Output]


@dataclass(frozen=True)
class Files:
    """Parquet files below `folder`, in a fixed order."""

    folder: str
    parts: tuple[File, ...]

    def path(self, part: File) -> str:
        return storage.join(self.folder, part.path) if self.folder else part.path

    def items(self, name: str, identity: Any = None) -> list[WorkItem]:
        """A work item per file: its path is the argument, its checksum and `identity` the identity."""
        return [
            WorkItem(f"{name}-{i:05d}", [part.sha256, identity], self.path(part)) for i, part in enumerate(self.parts)
        ]


def as_they_are(rows: pa.Table) -> pa.Table:
    """The `prepare` that sends every row unchanged."""
    return rows


def exchange(
    source: Files,
    key: str,
    buckets: int,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
    prepare: Prepare = as_they_are,
    identity: Any = None,
    order: Sequence[str] = ("uid", "page_url"),
) -> Files:
    """Regroup rows by column `key` (integers go to bucket key % buckets, strings by hash), sorted by `order`.

    `identity` names what `prepare` depends on besides the rows, so that a change of it redoes the work.
    """
    items = source.items("cut", [key, buckets, identity])
    return regroup(items, functools.partial(prepared, prepare), key, buckets, folder, executor, progress, order)


def regroup(
    given: Sequence[WorkItem],
    rows_of: Callable[[Any], pa.Table],
    key: str,
    buckets: int,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
    order: Sequence[str] = (),
) -> Files:
    """Like `exchange`, of rows that `rows_of` makes from each item's arguments; without `order` they are not sorted."""
    gathered = regrouped(given, rows_of, key, buckets, folder, executor, progress, order, kept)
    return Files(folder, tuple(record.files["kept"] for record in gathered))


def regrouped(
    given: Sequence[WorkItem],
    rows_of: Callable[[Any], pa.Table],
    key: str,
    buckets: int,
    folder: str,
    executor: Executor,
    progress: Progress,
    order: Sequence[str],
    finish: Finish,
    identity: Any = None,
) -> list[Record]:
    """The records of what `finish` makes of each bucket's rows; `identity` names what it depends on besides them."""
    cuts = run_items(
        storage.join(folder, "cut"),
        functools.partial(_cut, key, buckets, rows_of),
        given,
        executor,
        progress,
        f"cut by {key}",
    )
    pieces = [storage.join(folder, "cut", record.files[PIECES].path) for record in cuts]
    digest = storage.sha256(storage.canonical_json([record.files[PIECES].sha256 for record in cuts]))
    items = [
        WorkItem(f"gather-{bucket:05d}", [digest, buckets, bucket, list(order), identity], bucket)
        for bucket in filled(pieces, buckets)
    ]
    work = functools.partial(_gather, tuple(order), tuple(pieces), buckets, finish)
    return run_items(folder, work, items, executor, progress, f"gather by {key}")


def kept(rows: pa.Table) -> Output:
    """The `finish` that keeps the rows as they are."""
    return Output({"kept": rows}, {"pairs": Fate(rows.num_rows, rows.num_rows)})


def prepared(prepare: Prepare, path: str) -> pa.Table:
    """The `rows_of` of an item that is a Parquet file."""
    return prepare(storage.read_table(path))


def buckets_of(keys: pa.ChunkedArray, buckets: int) -> np.ndarray:
    """The bucket of each key, int64."""
    if pa.types.is_integer(keys.type):
        return np.asarray(keys.to_numpy(), dtype=np.int64) % buckets
    hashes = [xxhash.xxh64_intdigest(key.encode("utf-8", "surrogatepass")) % buckets for key in keys.to_pylist()]
    return np.array(hashes, dtype=np.int64)


def _cut(key: str, buckets: int, rows_of: Callable[[Any], pa.Table], arguments: Any) -> Output:
    rows = rows_of(arguments)
    pieces = in_pieces(rows, buckets_of(rows.column(key), buckets), buckets)
    return Output({}, {"pairs": Fate(rows.num_rows, rows.num_rows)}, {PIECES: pieces})


def in_pieces(rows: pa.Table, numbers: np.ndarray, buckets: int) -> bytes:
    """One file of all rows, those of each bucket (`numbers`, a bucket per row) as a Parquet table of their own."""
    order = np.argsort(numbers, kind="stable")
    edges = np.searchsorted(numbers[order], np.arange(buckets + 1, dtype=numbers.dtype))
    pieces = [
        storage.table_bytes(rows.take(pa.array(order[start:stop]))) if start < stop else b""
        for start, stop in itertools.pairwise(edges.tolist())
    ]
    ends = np.cumsum([0, *map(len, pieces)], dtype="<i8")
    return b"".join([*pieces, ends.tobytes()])


def filled(paths: Sequence[str], buckets: int) -> list[int]:
    """The buckets that have rows in any of these files of pieces."""
    sizes = np.zeros(buckets, np.int64)
    for path in paths:
        sizes += np.diff(_edges(path, buckets))
    return [int(bucket) for bucket in np.flatnonzero(sizes)]


def read_pieces(paths: Sequence[str], buckets: int, bucket: int) -> pa.Table:
    """A bucket's rows from all files of pieces, in the files' order; at least one of them has some."""
    tables = []
    for path in paths:
        start, stop = _edges(path, buckets)[bucket : bucket + 2].tolist()
        if start < stop:
            with storage.whole(path):
                tables.append(storage.parse_table(read_ranges([path], [start], [stop - start])[0]))
    return pa.concat_tables(tables)


def _edges(path: str, buckets: int) -> np.ndarray:
    """Where the pieces of a cut begin and end: (buckets + 1) offsets."""
    length = 8 * (buckets + 1)
    return np.frombuffer(read_ranges([path], [storage.size(path) - length], [length])[0], "<i8")


def _gather(order: tuple[str, ...], paths: tuple[str, ...], buckets: int, finish: Finish, bucket: int) -> Output:
    rows = read_pieces(paths, buckets, bucket)
    return finish(in_order(rows, order) if order else rows)  # else in the items' order, which does not change either


def in_order(rows: pa.Table, order: Sequence[str]) -> pa.Table:
    """Sorted by `order`, then by every other column, so that no two orders of the same rows come out different."""
    plain = [field.name for field in rows.schema if not pa.types.is_nested(field.type)]
    keys = [name for name in order if name in plain] + [name for name in plain if name not in order]
    rows = rows.sort_by([(name, "ascending") for name in keys])
    nested = [name for name in rows.column_names if name not in plain]
    if not nested or not keys or rows.num_rows < 2:
        return rows
    # Arrow cannot sort by lists; they decide only between rows that are equal in everything else, which are few.
    same = np.ones(rows.num_rows - 1, dtype=bool)
    for name in keys:
        column = rows.column(name).combine_chunks()
        equal = pc.equal(column[1:], column[:-1])
        both_null = pc.and_(column[1:].is_null(), column[:-1].is_null())
        same &= np.asarray(pc.fill_null(equal, False)) | np.asarray(both_null)
        if not same.any():
            return rows
    group = np.concatenate([[0], np.cumsum(~same)])
    tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    words = {int(i): storage.canonical_json(rows.select(nested).slice(int(i), 1).to_pylist()) for i in tied}
    return rows.take(sorted(range(rows.num_rows), key=lambda i: (group[i], words.get(i, b""))))
