"""Pack: the pairs that stayed become shards, sorted by uid (a hash, so sorted is shuffled), and the Manifest is written last."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.errors import DataError
from pipeline.exchange import Files, exchange
from pipeline.executor import Executor
from pipeline.ledger import Fate, Output, PhaseResult, Progress, WorkItem, run_items, silent
from pipeline.manifest import Manifest, Shard
from pipeline.settings import Settings
from pipeline.shards import PACKED, shard_files


class PackConfig(Settings):
    """The form of the finished dataset."""

    samples_per_shard: int = Field(10_000, ge=1)
    """Samples in one tar (img2dataset: 10,000)."""


def pack(
    config: PackConfig,
    phases: Sequence[PhaseResult],
    manifest_config: Mapping[str, Any],
    code_version: str,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> Manifest:
    """Write the kept rows of the last of `phases` as shards; the manifest carries the counts of all of them.

    Raises DataError when there is no row to write.
    """
    last = phases[-1]
    source = Files(last.folder, last.kept)
    places = _places(source)
    if not len(places):
        dropped = {
            reason: count for phase in phases for f in phase.fates.values() for reason, count in f.reasons.items()
        }
        raise DataError(
            f"the dataset is empty after filtering: {dropped}; widen the rules in curate, or crawl more pages"
        )
    firsts = places[:: config.samples_per_shard]
    shards = exchange(
        source,
        "shard",
        len(firsts),
        storage.join(folder, "rows"),
        executor,
        progress,
        functools.partial(_with_shard, firsts),
        identity=storage.sha256(firsts.tobytes()),
        order=("uid",),
    )
    records = run_items(
        folder,
        functools.partial(_write, config.samples_per_shard),
        [
            WorkItem(f"shard-{number:05d}", [part.sha256, config.samples_per_shard], (number, shards.path(part)))
            for number, part in enumerate(shards.parts)
        ],
        executor,
        progress,
        "shards",
    )
    entries = []
    for number, record in enumerate(records):
        tar, index = record.files[f"{number:05d}.tar"], record.files[f"{number:05d}.parquet"]
        rows = record.fates["pairs"].kept
        entries.append(Shard(tar.path, index.path, rows, tar.bytes, tar.sha256, index.sha256))
    manifest = Manifest(
        tuple(entries),
        {phase.name: {unit: asdict(fate) for unit, fate in phase.fates.items()} for phase in phases},
        tuple(phase.id for phase in phases),
        manifest_config,
        code_version,
        {
            name if phase.name == "fetch" else f"{phase.name}_{name}": count
            for phase in phases
            for name, count in phase.telemetry.items()
        },
    )
    storage.remove_tree(storage.join(folder, "rows"))  # copies of what the shards now hold
    manifest.save(folder)
    return manifest


def _places(source: Files) -> np.ndarray:
    """The first 64 bits of every uid, sorted: 8 bytes per row is all that is held of the whole dataset."""
    parts = [
        [int(uid[:16], 16) for uid in storage.read_table(source.path(part), ["uid"]).column("uid").to_pylist()]
        for part in source.parts
    ]
    return np.sort(np.array([place for part in parts for place in part], dtype=np.uint64))


def _with_shard(firsts: np.ndarray, rows: pa.Table) -> pa.Table:
    places = np.array([int(uid[:16], 16) for uid in rows.column("uid").to_pylist()], dtype=np.uint64)
    shard = np.searchsorted(firsts, places, side="right") - 1
    return rows.select(PACKED.names).append_column("shard", pa.array(shard, pa.int64()))


def _write(samples_per_shard: int, part: tuple[int, str]) -> Output:
    number, path = part
    rows = storage.read_table(path).select(PACKED.names)
    fate = Fate(rows.num_rows, rows.num_rows)
    return Output({}, {"pairs": fate}, final=shard_files(rows, number, samples_per_shard))
