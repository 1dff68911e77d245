"""Packing: rows whose shard and whose picture's place are known become shards. What `pack` and `reshard` have in common.

    rows       (uid, every carried column, shard) and the pictures' places (uid, shard, file, image_offset, image_bytes)
               are regrouped by shard: small rows, no pictures
    shards     one item per shard reads its pictures where they lie, in the order of their keys, and streams them out

So a picture is copied once, from where it was fetched to into its shard. Memory of an item: one shard's rows without
pictures, and one window of pictures.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.datasets.picture_places import read_pictures
from pipeline.datasets.shard_writer import shard_names, write_shard
from pipeline.errors import DataError
from pipeline.execution.exchange import Files, exchange
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, Record, WorkItem, run_items
from pipeline.execution.progress import Progress
from pipeline.manifest import Shard
from pipeline.streams import remove_unfinished

ROWS_PER_ITEM = 32_768
"""Rows without pictures that an item of the first pass holds: some 2 KB each."""


@dataclass(frozen=True)
class Form:
    """How shards are written."""

    samples_per_shard: int
    form: str
    image_column: str


def uid_numbers(uids: pa.ChunkedArray | Sequence[str]) -> np.ndarray:
    """(n, 2) uint64: the two halves of each 128-bit uid."""
    words = uids.to_pylist() if isinstance(uids, pa.ChunkedArray | pa.Array) else uids
    return np.frombuffer(bytes.fromhex("".join(words)), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def grouped(files: Files, rows_per_item: int = ROWS_PER_ITEM) -> list[list[int]]:
    """The files' numbers in runs of about `rows_per_item` rows: the work items of a pass over small rows.

    Of less, where there are few rows: every worker shall have some. How many workers there are decides nothing.
    """
    rows_per_item = min(rows_per_item, max(ROWS_PER_ITEM // 16, sum(part.rows for part in files.parts) // 16))
    groups: list[list[int]] = []
    rows = rows_per_item
    for number, part in enumerate(files.parts):
        if rows >= rows_per_item:
            groups.append([])
            rows = 0
        groups[-1].append(number)
        rows += part.rows
    return groups


def write_shards(
    rows: Files,
    places: Files,
    sources: Sequence[str],
    count: int,
    form: Form,
    folder: str,
    executor: Executor,
    progress: Progress,
    failed: Sequence[Mapping[str, int]] | None = None,
) -> tuple[Shard, ...]:
    """Write shards 0 .. count-1 into `folder`.

    `rows` and `places` are tables of both kinds above, in any order; `sources` are the paths that a place's `file` counts.
    `failed` counts by shard and reason the rows that have no picture, for the shards' stats. Of rows with a column
    `place` its order is taken, else that of uid. Raises DataError when a picture is missing.
    """
    work = storage.join(folder, "rows")
    by_shard = exchange(
        rows, "shard", count, storage.join(work, "meta"), executor, progress, order=("shard", "place", "uid")
    )
    pictures = exchange(places, "shard", count, storage.join(work, "places"), executor, progress, order=("uid", "file"))
    if len(by_shard.parts) != count or len(pictures.parts) != count:
        raise DataError(f"{len(by_shard.parts):,} shards have rows and {len(pictures.parts):,} pictures, of {count:,}")
    items = [
        WorkItem(
            f"shard-{number:05d}",
            [meta.sha256, place.sha256, form.samples_per_shard, form.form, form.image_column, missed],
            (number, by_shard.path(meta), pictures.path(place), missed),
        )
        for number, (meta, place, missed) in enumerate(
            zip(by_shard.parts, pictures.parts, map(dict, failed or [{}] * count), strict=True)
        )
    ]
    records = run_items(
        folder, functools.partial(_write, folder, form, tuple(sources)), items, executor, progress, "shards"
    )
    remove_unfinished(folder)
    return tuple(_entry(number, form.form, record) for number, record in enumerate(records))


def _entry(number: int, form: str, record: Record) -> Shard:
    data, index = (record.files[name] for name in shard_names(number, form))
    return Shard(data.path, index.path, record.fates["pairs"].kept, data.bytes, data.sha256, index.sha256)


def _write(folder: str, form: Form, sources: tuple[str, ...], part: tuple[int, str, str, Mapping[str, int]]) -> Output:
    number, meta, places, failed = part
    rows = storage.read_table(meta)
    found = storage.read_table(places)
    # The last place of an equal uid: they hold the same picture.
    where = {uid: at for at, uid in enumerate(found.column("uid").to_pylist())}
    try:
        order = [where[uid] for uid in rows.column("uid").to_pylist()]
    except KeyError as error:
        raise DataError(f"{meta}: no picture for the pair {error.args[0]}; run the recipe again") from None
    pictures = read_pictures(sources, found.take(pa.array(order, pa.int64())))
    rows = rows.drop_columns([name for name in ("shard", "place") if name in rows.column_names])
    files = write_shard(
        folder, number, rows, pictures, form.samples_per_shard, form.form, form.image_column, failed=failed
    )
    return Output({}, {"pairs": Fate(rows.num_rows, rows.num_rows)}, final=files)
