"""Against a finished dataset: what is near one of its pictures falls, so that a dataset grows without repeating itself.

Both sides meet as within one pool, by digest and by bands of the pHash, and are verified as within one: pairs that the hashes leave
are marked first, then colours of these rows alone are looked up, theirs in their pictures (other_dataset.py). Only pairs of one
row of ours and one of theirs are looked at, and for each of ours the nearest of theirs is remembered, so memory does not grow
with the number of pairs.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.duplicates.by_bytes import PARTS, digests
from pipeline.duplicates.by_picture import by_partition, high_bits_for
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.hamming import BANDS, MARK, nearest, search
from pipeline.duplicates.looks import looks_of, say
from pipeline.duplicates.other_dataset import KINDS, OtherDataset
from pipeline.duplicates.pool import VERDICT, ByBlock, Pool, settle
from pipeline.execution.exchange import Files, regroup
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, Record, WorkItem, run_items
from pipeline.execution.progress import Progress

REASON = "duplicate_of_dataset"


def verdicts(
    config: DeduplicateConfig, pool: Pool, buckets: int, folder: str, executor: Executor, progress: Progress
) -> list[ByBlock]:
    """Verdicts on every pair of the pool that the dataset `config.against` holds: by bytes, then by looks.

    Raises DataError where there is no dataset, ConfigError where it lacks what the configuration asks for.
    """
    other = OtherDataset.open(config)
    found = []
    if config.bytes:
        met = regroup([*pool.items("ours"), *other.items("theirs")], functools.partial(_digests, pool, other), "key",
                      buckets, storage.join(folder, "digests"), executor, progress)  # fmt: skip
        work = functools.partial(_equal, pool)
        found.append(_judged(met.items("near", []), work, storage.join(folder, "bytes"), executor, progress))
        pool = pool.without(found[-1])
    if config.pictures:
        other = other.with_hashes(storage.join(folder, "described"), executor, progress)
        high, rule = high_bits_for(buckets), [config.radius, config.longer_radius]
        met = regroup(
            [
                WorkItem(item.name, [item.identity, [config.radius, high]], item.arguments)
                for item in [*pool.items("ours"), *other.items("theirs")]
            ],
            functools.partial(_looks, pool, other, config.radius, high), "key", BANDS << high,
            storage.join(folder, "looks"), executor, progress,
        )  # fmt: skip
        marked: list[Record] = []
        if config.thumbnails != "ignored":
            work = functools.partial(_mark, config, np.array(other.starts), high)
            items = met.items("mark", rule)
            marked = run_items(storage.join(folder, "marked"), work, items, executor, progress, "near by hashes")
        items = _with_thumbnails(config, pool, met, other, marked, folder, executor, progress)
        near = functools.partial(_near, config, pool, high)
        found.append(_judged(items, near, storage.join(folder, "pictures"), executor, progress))
    return found


def _with_thumbnails(
    config: DeduplicateConfig,
    pool: Pool,
    met: Files,
    other: OtherDataset,
    marked: list[Record],
    folder: str,
    executor: Executor,
    progress: Progress,
) -> list[WorkItem]:
    """An item per partition: (its path, shard -> table of the thumbnails of theirs that are near one of ours)."""
    wanted: dict[int, list[tuple[str, str]]] = {}
    for record in marked:
        for label, file in record.files.items():
            wanted.setdefault(int(label), []).append((storage.join(folder, "marked", file.path), file.sha256))
    made = other.thumbnails(wanted, storage.join(folder, "colours"), executor, progress)
    rule: list[Any] = [
        config.radius,
        config.longer_radius,
        config.thumbnails,
        config.thumbnail_distance,
        config.colour_distance,
    ]
    rule.append(pool.whole_identity())
    items = []
    for number, part in enumerate(met.parts):
        shards = sorted(map(int, marked[number].files)) if marked else []
        identity = [part.sha256, rule, [made[shard][1] for shard in shards]]
        paths = {shard: made[shard][0] for shard in shards}
        items.append(WorkItem(f"near-{number:05d}", identity, (met.path(part), paths)))
    return items


def _judged(
    items: list[WorkItem], work: Callable[[Any], Output], folder: str, executor: Executor, progress: Progress
) -> ByBlock:
    near = storage.join(folder, "near")
    records = run_items(near, work, items, executor, progress, "in the other dataset")
    return settle(ByBlock.of(near, records), storage.join(folder, "settled"), executor, progress)


def _rows(pool: Pool, other: OtherDataset, given: int, names: list[str]) -> pa.Table:
    """`names`, uid and position of a block of ours, or (given below 0) of a shard of theirs."""
    if given < 0:
        return other.rows(-1 - given, names)
    there = storage.read_schema(pool.facts.path(pool.facts.parts[given])).names
    rows = pool.read(given, ["uid", *(name for name in names if name in there)])
    columns = {name: rows.column(name) if name in there else pa.nulls(rows.num_rows, KINDS[name]) for name in names}
    return pa.table({"uid": pc.cast(rows.column("uid"), pa.string())} | columns | {"position": rows.column("position")})


def _digests(pool: Pool, other: OtherDataset, given: int) -> pa.Table:
    return digests(_rows(pool, other, given, ["sha256"]))


def _looks(pool: Pool, other: OtherDataset, radius: int, high: int, given: int) -> pa.Table:
    return by_partition(_rows(pool, other, given, ["phash", "phash256"]), radius, high)


def _equal(pool: Pool, path: str) -> Output:
    rows = storage.read_table(path)
    parts = [rows.column(name).to_numpy() for name in PARTS]
    ours = rows.column("position").to_numpy() >= 0
    order = np.lexsort((_rank(rows), ours, *parts))  # of each digest theirs come first, the smallest uid before others
    same = np.ones(max(0, len(order) - 1), bool)
    for part in parts:
        same &= part[order[1:]] == part[order[:-1]]
    run = np.concatenate([[True], ~same]).cumsum() - 1 if len(order) else np.zeros(0, np.int64)
    first = np.flatnonzero(np.concatenate([[True], ~same]))[run] if len(order) else run
    fallen = np.flatnonzero(ours[order] & ~ours[order[first]])
    return _output(pool, rows, order[fallen], order[first[fallen]], ["the same bytes"] * len(fallen))


def _marked(config: DeduplicateConfig, rows: pa.Table, high: int) -> np.ndarray:
    """(N,) bool: rows that their hashes alone find near one of the other side."""
    looks = replace(looks_of(config, rows), bare_radius=config.radius)  # thumbnails have their say later
    hashes, home = rows.column("hash").to_numpy(), rows.column("home").to_numpy(zero_copy_only=False)
    ours = rows.column("position").to_numpy() >= 0
    return search(hashes, home, rows.column("key")[0].as_py(), high, config.radius, MARK, looks, ours)


def _mark(config: DeduplicateConfig, starts: np.ndarray, high: int, path: str) -> Output:
    """By shard of theirs, the positions whose thumbnails are wanted."""
    rows = storage.read_table(path)
    positions = rows.column("position").to_numpy()[_marked(config, rows, high)]
    positions = np.unique(positions[positions < 0])
    shards = np.searchsorted(starts, -1 - positions, side="right") - 1
    tables = {f"{n:05d}": pa.table({"position": positions[shards == n]}) for n in np.unique(shards).tolist()}
    return Output(tables, {"rows": Fate(rows.num_rows, rows.num_rows)})


def _near(config: DeduplicateConfig, pool: Pool, high: int, given: tuple[str, dict[int, str]]) -> Output:
    path, thumbnails = given
    rows = storage.read_table(path)
    partition, rows_in = rows.column("key")[0].as_py(), rows.num_rows
    if config.thumbnails != "ignored":
        rows = rows.filter(pa.array(_marked(config, rows, high)))
        seen = _thumbnails(pool, rows.column("position").to_numpy(), thumbnails)
        rows = rows.append_column("thumbnail8", seen)
    ours = rows.column("position").to_numpy() >= 0
    hashes, home = rows.column("hash").to_numpy(), rows.column("home").to_numpy(zero_copy_only=False)
    best = nearest(hashes, home, partition, high, config.radius, looks_of(config, rows), ours, _rank(rows))
    fallen = np.flatnonzero(best >= 0)
    rows = rows.append_column("phash", rows.column("hash"))
    pairs = [rows.take(pa.array(side)) for side in (fallen, best[fallen])]
    words = say(*pairs)
    if config.thumbnails != "ignored":
        blind = [
            any(two) for two in zip(*(side.column("thumbnail8").is_null().to_pylist() for side in pairs), strict=True)
        ]
        words = [f"{each}, colours not compared" if no else each for each, no in zip(words, blind, strict=True)]
    return _output(pool, rows, fallen, best[fallen], words, rows_in)


def _thumbnails(pool: Pool, positions: np.ndarray, theirs: dict[int, str]) -> pa.Array:
    """Thumbnails of rows of both sides, null where there is none."""
    values = np.full(len(positions), None, object)
    ours = np.flatnonzero(positions >= 0)
    if len(ours):
        values[ours] = pool.look_up(positions[ours], ["thumbnail8"]).column(0).to_pylist()
    for _, path in sorted(theirs.items()):
        made = storage.read_table(path, ["position", "thumbnail8"])
        made = made.filter(pc.is_in(made.column("position"), pa.array(positions)))
        known = dict(zip(made.column("position").to_pylist(), made.column("thumbnail8").to_pylist(), strict=True))
        for row in np.flatnonzero(np.isin(positions, np.array(list(known), np.int64))).tolist():
            values[row] = known[int(positions[row])]
    return pa.array(values.tolist(), pa.binary())


def _rank(rows: pa.Table) -> np.ndarray:
    """The order of the rows by uid."""
    return np.asarray(pc.rank(rows.column("uid").combine_chunks(), tiebreaker="min").to_numpy())


def _output(
    pool: Pool, rows: pa.Table, ours: np.ndarray, theirs: np.ndarray, words: list[str], rows_in: int | None = None
) -> Output:
    uids = rows.column("uid").take(pa.array(theirs)).to_pylist()
    table = pa.table(
        [
            rows.column("position").take(pa.array(ours)).combine_chunks(),
            pa.array(np.full(len(ours), -1)),
            pa.array([REASON] * len(ours), pa.string()),
            pa.array([f"of {uid} there: {word}" for uid, word in zip(uids, words, strict=True)], pa.string()),
        ],
        schema=VERDICT,
    )
    count = rows.num_rows if rows_in is None else rows_in
    return Output(pool.split(table), {"rows": Fate(count, count)})
