"""Reshard: a new dataset of the samples that a subset file names (pipeline/datasets/subset.py), in shards of equal size again.

    find     each index of the old dataset is read once: which wanted uids it holds, in which rows. What no sample has as its uid
             is looked for among the uids that the source's table gave (source_uid): DataComp's own subset files apply
    order    samples keep the order of their uids, which is a shuffled one; a uid that is wanted again is a copy with a
             place of its own, drawn by hash, and never stands beside its twin (in DataComp's resharder it always does,
             its issue 92)
    shards   pipeline/datasets/packing.py, as for a new dataset

Memory: the subset (16 bytes per sample), and 12 bytes more for each while they are found; 28 more where copies are wanted, 33 for
what goes by source_uid.
All uids of a packed dataset in its own form give its very files again.
"""

import functools
import itertools
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.datasets.folded import carry_on
from pipeline.datasets.pack import PackConfig, commonest
from pipeline.datasets.packing import Form, uid_numbers, write_shards
from pipeline.datasets.shard_form import carried
from pipeline.datasets.shards import read_index
from pipeline.datasets.subset import UID, by_source_uid, hex_of
from pipeline.datasets.takedown import derived
from pipeline.errors import DataError
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.manifest import Manifest, Shard

ASSIGNED = pa.schema([("row", pa.int64()), ("place", pa.int64())])


def reshard(
    config: PackConfig,
    folder: str,
    uids: np.ndarray,
    out: str,
    executor: Executor,
    progress: Progress = silent,
    allow_missing: bool = False,
) -> Manifest:
    """Write the samples `uids` (dtype UID, sorted, repeats wanted) of the dataset at `folder` as a dataset into `out`.

    Each is a sample's uid, or else the source_uid of a sample (of several the first in the dataset).
    Raises DataError when uids are not in the dataset (unless `allow_missing`), before anything is written.
    """
    manifest = Manifest.load(folder)
    manifest.require_files(folder)
    wanted, copies = np.unique(uids, return_counts=True)
    if not len(wanted):
        raise DataError(f"{folder}: the subset names no sample; choose by a wider condition")
    shard, row, formats = _find(folder, manifest, wanted)
    lost, named = wanted[shard < 0], len(wanted)
    by_source = 0
    if len(lost):
        own, known = by_source_uid(folder, manifest, lost)
        by_source = int(known.sum())
        if by_source:
            # A sample that the subset names both ways is one sample, as often as its uid says.
            wanted, first = np.unique(np.concatenate([wanted[shard >= 0], own[known]]), return_index=True)
            copies = np.concatenate([copies[shard >= 0], copies[shard < 0][known]])[first]
            shard, row, formats = _find(folder, manifest, wanted)
        lost = lost[~known]
    if len(lost) and not allow_missing:
        raise DataError(
            f"{len(lost):,} of {named:,} uids are not in {folder}, as uid or source_uid (the first: {hex_of(lost[:1])[0]});"
            " correct the subset file, or pass --allow-missing"
        )
    if len(lost) == named:
        raise DataError(f"{folder}: holds none of the {named:,} uids of the subset, as uid or source_uid")
    held = shard >= 0
    which, place = _places(wanted[held], copies[held])
    _assign(manifest, shard[held][which], row[held][which], place, storage.join(out, "rows", "assigned"))
    config_of = {"subset_sha256": storage.sha256(uids.tobytes()), "missing": len(lost), **config.model_dump()}
    if by_source:
        config_of["by_source_uid"] = by_source
    form = Form(config.samples_per_shard, config.output, config.image_column or commonest(formats))
    shards = _write(form, folder, manifest, len(place), out, executor, progress)
    new = derived(manifest, "reshard", shards, manifest.rows - int(held.sum()), "not_in_subset", config_of)
    if len(which) > int(held.sum()):
        name = list(new.counts)[-1]
        fate = asdict(Fate(len(which), len(which)))
        new = replace(new, counts={**new.counts, name: {**new.counts[name], "copies": fate}})
    if new.rows != len(place):
        raise DataError(f"{out}: {new.rows:,} rows in shards, {len(place):,} were wanted; run the command again")
    storage.remove_tree(storage.join(out, "rows"))
    storage.write_json(storage.join(out, "origin.json"), {"folder": folder, "manifest_id": manifest.id})
    carry_on(folder, out)
    new.save(out)
    return new


def _find(folder: str, manifest: Manifest, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    """For each wanted uid (sorted, once each) the shard and row of its first sample, -1 where there is none. And formats."""
    formats: Counter[str] = Counter()
    shard = np.full(len(wanted), -1, np.int32)
    row = np.full(len(wanted), -1, np.int64)
    for number, entry in enumerate(manifest.shards):
        table = read_index(folder, entry, ["uid", "format"])
        formats.update(table.column("format").to_pylist())
        here = np.ascontiguousarray(uid_numbers(table.column("uid"))).view(UID).reshape(-1)
        at = np.minimum(np.searchsorted(wanted, here), len(wanted) - 1)
        for place in np.flatnonzero((wanted[at] == here) & (shard[at] < 0))[::-1].tolist():
            shard[at[place]], row[at[place]] = number, place  # backwards, so that the first of equal ones stays
    return shard, row, formats


def _places(wanted: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each sample of the new dataset the position of its uid in `wanted`, and its own place 0 .. n-1."""
    if (copies == 1).all():
        return np.arange(len(wanted)), np.arange(len(wanted))
    which = np.repeat(np.arange(len(wanted)), copies)
    again = np.arange(len(which)) - np.repeat(np.cumsum(copies) - copies, copies)
    drawn = np.where(again == 0, wanted["f0"][which], _mixed(wanted["f0"][which], wanted["f1"][which], again))
    order = np.lexsort((again, which, drawn))
    _part_twins(which, order)
    place = np.empty(len(which), np.int64)
    place[order] = np.arange(len(which))
    return which, place


def _part_twins(which: np.ndarray, order: np.ndarray) -> None:
    """Let each sample that follows its twin change places with another, where both then stand apart from their twins."""
    line = which[order]

    def apart(value: int, at: int) -> bool:
        return all(line[i] != value for i in (at - 1, at + 1) if 0 <= i < len(line))

    for twin in (np.flatnonzero(line[1:] == line[:-1]) + 1).tolist():
        for other in itertools.chain(range(twin + 2, len(line)), range(twin - 2, -1, -1)):
            if apart(line[twin], other) and apart(line[other], twin):
                order[[twin, other]] = order[[other, twin]]
                line[[twin, other]] = line[[other, twin]]
                break


def _mixed(high: np.ndarray, low: np.ndarray, again: np.ndarray) -> np.ndarray:
    """64 bits drawn from uid and copy (splitmix64: Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        x = high ^ (low + again.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _assign(manifest: Manifest, shard: np.ndarray, row: np.ndarray, place: np.ndarray, folder: str) -> None:
    """Write for each old shard which of its rows go where."""
    order = np.lexsort((place, shard))
    edges = np.searchsorted(shard[order], np.arange(len(manifest.shards) + 1))
    for number in range(len(manifest.shards)):
        mine = order[edges[number] : edges[number + 1]]
        table = pa.table([pa.array(row[mine]), pa.array(place[mine])], schema=ASSIGNED)
        storage.write_table(storage.join(folder, f"{number:05d}.parquet"), table)


def _write(
    form: Form, folder: str, manifest: Manifest, rows: int, out: str, executor: Executor, progress: Progress
) -> tuple[Shard, ...]:
    work = storage.join(out, "rows", "taken")
    items = []
    for number, shard in enumerate(manifest.shards):
        assigned = storage.join(out, "rows", "assigned", f"{number:05d}.parquet")
        identity = [shard.index_sha256, storage.sha256_file(assigned), form.samples_per_shard, number]
        items.append(WorkItem(f"take-{number:05d}", identity, (number, assigned)))
    take = functools.partial(_take, folder, manifest, form.samples_per_shard)
    records = run_items(work, take, items, executor, progress, "find samples")
    meta = Files(work, tuple(record.files["meta"] for record in records if record.fates["pairs"].kept))
    where = Files(work, tuple(record.files["where"] for record in records if record.fates["pairs"].kept))
    sources = [storage.join(folder, shard.tar) for shard in manifest.shards]
    count = -(-rows // form.samples_per_shard)
    return write_shards(meta, where, sources, count, form, out, executor, progress)


def _take(folder: str, manifest: Manifest, samples_per_shard: int, part: tuple[int, str]) -> Output:
    number, path = part
    assigned = storage.read_table(path)
    if assigned.num_rows:
        manifest.shards[number].verify(folder)  # what is written gets a checksum of its own, damage and all
    index = read_index(folder, manifest.shards[number]).take(assigned.column("row"))
    place = assigned.column("place")
    shard = pa.array(place.to_numpy() // samples_per_shard, pa.int64())
    where = pa.table(
        {
            "uid": index.column("uid"),
            "shard": shard,
            "file": pa.array([number] * index.num_rows, pa.int64()),
            "image_offset": index.column("image_offset"),
            "image_bytes": index.column("image_bytes").cast(pa.int64()),
        }
    )
    text = index.column("caption")
    meta = index.select([name for name in index.column_names if carried(name) and not name.startswith("image_")])
    meta = meta.append_column("text", text).append_column("shard", shard).append_column("place", place)
    return Output({"meta": meta, "where": where}, {"pairs": Fate(index.num_rows, index.num_rows)})
