"""Against a finished dataset: what is near one of its pictures falls, so that a dataset grows without repeating itself.

Its shards' indexes name sha256, phash and phash256 of every picture; no picture of it is read. Both sides meet as within
one pool, by digest and by bands of the pHash; only pairs of one row of ours and one of theirs are looked at, and for each
of ours the nearest of theirs is remembered, so memory does not grow with the number of pairs.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.duplicates.by_bytes import PARTS, digests
from pipeline.duplicates.by_picture import by_partition, high_bits_for
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.hamming import BANDS, nearest
from pipeline.duplicates.looks import looks_of, seen
from pipeline.duplicates.pool import VERDICT, ByBlock, Pool, settle
from pipeline.errors import ConfigError
from pipeline.execution.exchange import Files, regroup
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, Progress, WorkItem, run_items
from pipeline.manifest import Manifest

REASON = "duplicate_of_dataset"
HEXADECIMAL = re.compile("[0-9a-f]+")


def verdicts(
    config: DeduplicateConfig, pool: Pool, buckets: int, folder: str, executor: Executor, progress: Progress
) -> list[ByBlock]:
    """Verdicts on every pair of the pool that the dataset `config.against` holds: by bytes, then by looks.

    Raises DataError where there is no dataset, ConfigError where its index lacks what the configuration asks for.
    """
    assert config.against is not None
    manifest = Manifest.load(config.against)
    paths = [storage.join(config.against, shard.index) for shard in manifest.shards]
    for path in paths[:1]:
        _check(config, path)
    theirs = [
        WorkItem(f"theirs-{number:05d}", shard.index_sha256, path)
        for number, (shard, path) in enumerate(zip(manifest.shards, paths, strict=True))
    ]
    found = []
    if config.bytes:
        met = regroup([*pool.items("ours"), *theirs], functools.partial(_digests, pool), "key", buckets,
                      storage.join(folder, "digests"), executor, progress)  # fmt: skip
        found.append(
            _judged(met, functools.partial(_equal, pool), [], storage.join(folder, "bytes"), executor, progress)
        )
        pool = pool.without(found[-1])
    if config.pictures:
        high = high_bits_for(buckets)
        given = [*pool.items("ours"), *theirs]
        identity = [config.radius, high]
        met = regroup(
            [WorkItem(item.name, [item.identity, identity], item.arguments) for item in given],
            functools.partial(_looks, pool, config.radius, high), "key", BANDS << high, storage.join(folder, "looks"),
            executor, progress,
        )  # fmt: skip
        near = functools.partial(_near, config, pool, high)
        rule = [config.radius, config.longer_radius]
        found.append(_judged(met, near, rule, storage.join(folder, "pictures"), executor, progress))
    return found


def _check(config: DeduplicateConfig, index: str) -> None:
    there = storage.read_schema(index).names
    for name, wanted, switch in (("sha256", config.bytes, "bytes"), ("phash", config.pictures, "pictures")):
        if wanted and name not in there:
            raise ConfigError(
                f"curate.deduplicate.against: {config.against!r} has no column {name} in its index, so its {switch} cannot"
                f" be compared; make that dataset anew, or set curate.deduplicate.{switch}=false"
            )


def _judged(
    met: Files, work: Callable[[str], Output], rule: list[Any], folder: str, executor: Executor, progress: Progress
) -> ByBlock:
    near = storage.join(folder, "near")
    records = run_items(near, work, met.items("near", rule), executor, progress, "in the other dataset")
    return settle(ByBlock.of(near, records), storage.join(folder, "settled"), executor, progress)


def _rows(pool: Pool, given: int | str, names: list[str]) -> pa.Table:
    """`names`, uid and position of a block of ours, or of a shard of theirs, whose positions are -1."""
    if isinstance(given, int):
        there = storage.read_schema(pool.facts.path(pool.facts.parts[given])).names
        rows = pool.read(given, ["uid", *(name for name in names if name in there)])
    else:
        there = storage.read_schema(given).names
        rows = storage.read_table(given, ["uid", *(name for name in names if name in there)])
        rows = rows.append_column("position", pa.array(np.full(rows.num_rows, -1)))
    columns = {name: rows.column(name) if name in there else pa.nulls(rows.num_rows, pa.binary()) for name in names}
    given_columns = {"uid": pc.cast(rows.column("uid"), pa.string())} | {n: _plain(n, c) for n, c in columns.items()}
    return pa.table(given_columns | {"position": rows.column("position")})


def _plain(name: str, column: Any) -> Any:
    """Hashes may be numbers and bytes, or the hexadecimal words that other tools write."""
    wanted = {"phash": pa.uint64(), "phash256": pa.binary(), "sha256": pa.string()}[name]
    if name == "sha256" or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return pc.cast(column, wanted)
    words = [word if word and HEXADECIMAL.fullmatch(word) else None for word in column.to_pylist()]
    if name == "phash":
        return pa.array([None if word is None else int(word[-16:], 16) for word in words], wanted)
    return pa.array([None if word is None or len(word) % 2 else bytes.fromhex(word) for word in words], wanted)


def _digests(pool: Pool, given: int | str) -> pa.Table:
    return digests(_rows(pool, given, ["sha256"]))


def _looks(pool: Pool, radius: int, high: int, given: int | str) -> pa.Table:
    return by_partition(_rows(pool, given, ["phash", "phash256"]), radius, high)


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


def _near(config: DeduplicateConfig, pool: Pool, high: int, path: str) -> Output:
    rows = storage.read_table(path)
    ours = rows.column("position").to_numpy() >= 0
    hashes, home = rows.column("hash").to_numpy(), rows.column("home").to_numpy(zero_copy_only=False)
    partition = rows.column("key")[0].as_py()
    best = nearest(hashes, home, partition, high, config.radius, looks_of(config, rows), ours, _rank(rows))
    fallen = np.flatnonzero(best >= 0)
    words = []
    for ourselves, other in zip(fallen.tolist(), best[fallen].tolist(), strict=True):
        pair = {"phash": (int(hashes[ourselves]), int(hashes[other]))}
        long = rows.column("phash256")
        words.append(seen(pair | {"phash256": (long[ourselves].as_py(), long[other].as_py())}))
    return _output(pool, rows, fallen, best[fallen], words)


def _rank(rows: pa.Table) -> np.ndarray:
    """The order of the rows by uid."""
    return np.asarray(pc.rank(rows.column("uid").combine_chunks(), tiebreaker="min").to_numpy())


def _output(pool: Pool, rows: pa.Table, ours: np.ndarray, theirs: np.ndarray, words: list[str]) -> Output:
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
    return Output(pool.split(table), {"rows": Fate(rows.num_rows, rows.num_rows)})
