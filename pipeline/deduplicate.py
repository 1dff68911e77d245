"""Deduplicate: the same bytes, then pictures that look the same. One pair of each cluster stays.

    bytes     rows meet by SHA-256 of the download
    near      rows meet by bands of their 64-bit pHash (pipeline/near.py: complete to `radius`); candidates are verified
              by the distance of their 8 x 8 colour thumbnails, because a pHash sees neither colour nor contrast
    apply     each file loses its duplicates

Which pair stays is a policy, not an accident of order: most pixels, then longest text, then smallest uid. Memory: one
bucket of hashes per work item, and the duplicates' ids (not the rows) in the driver.
"""

import functools
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.batch import Batch
from pipeline.descriptors import hamming, thumbnail_distance, thumbnails
from pipeline.exchange import Files, exchange
from pipeline.executor import Executor
from pipeline.ledger import Fate, Output, PhaseResult, Progress, run_items, silent
from pipeline.near import Clusters, band_values, join, probe_values
from pipeline.settings import Settings


class DeduplicateConfig(Settings):
    """When two pictures count as one."""

    radius: int = Field(7, ge=0, le=15)
    """Largest Hamming distance of two 64-bit pHashes; every pair within it is found."""
    thumbnail_distance: float = Field(10.0, gt=0)
    """Largest root mean square difference (0..255) of their 8 x 8 colour thumbnails."""
    buckets: int = Field(4, ge=1)
    """Work items of each pass; memory of one is about all hashes divided by this."""


Losers = dict[str, tuple[str, str, str]]
"""uid -> (reason, uid of the pair that stays, evidence)."""


def deduplicate(
    config: DeduplicateConfig,
    fetched: PhaseResult,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Drop all but one pair of every cluster of equal or near-equal pictures."""
    source = Files(fetched.folder, fetched.kept)
    same = exchange(source, "key", config.buckets, storage.join(folder, "bytes"), executor, progress, _by_bytes)
    edges = run_items(storage.join(folder, "equal"), _equal, same.items("equal"), executor, progress, "equal bytes")
    losers = _losers("duplicate_bytes", _edges(storage.join(folder, "equal"), edges))

    gone = sorted(losers)
    digest = storage.sha256("\n".join(gone).encode())
    bands = exchange(
        source,
        "key",
        config.buckets,
        storage.join(folder, "bands"),
        executor,
        progress,
        functools.partial(_by_band, config.radius, frozenset(gone)),
        identity=[config.radius, digest],
        order=("key", "uid", "probe"),
    )
    near = run_items(
        storage.join(folder, "near"),
        functools.partial(_near, config, [source.path(part) for part in source.parts]),
        bands.items("near", config.model_dump()),
        executor,
        progress,
        "near duplicates",
    )
    losers |= _losers("near_duplicate", _edges(storage.join(folder, "near"), near))

    verdicts = storage.sha256(storage.canonical_json(losers))
    records = run_items(
        storage.join(folder, "apply"),
        functools.partial(_apply, losers),
        source.items("apply", verdicts),
        executor,
        progress,
        "drop duplicates",
    )
    applied = PhaseResult.of_records("deduplicate", folder, records)
    result = PhaseResult(
        "deduplicate",
        folder,
        tuple(file.below("apply") for file in applied.kept),
        tuple(file.below("apply") for file in applied.dropped),
        applied.fates,
    )
    result.save()
    return result


def _rank(rows: pa.Table) -> dict[str, Any]:
    """The columns that decide which pair of a cluster stays."""
    area = np.asarray(rows.column("original_width").to_numpy(), np.int64) * rows.column("original_height").to_numpy()
    length = [len(text) for text in rows.column("text").to_pylist()]
    return {"uid": rows.column("uid"), "area": pa.array(area), "length": pa.array(length, pa.int64())}


def _by_bytes(rows: pa.Table) -> pa.Table:
    return pa.table({"key": rows.column("sha256"), **_rank(rows)})


def _by_band(radius: int, gone: frozenset[str], rows: pa.Table) -> pa.Table:
    """One row per band value (probe = False) and per probe of it (probe = True) for each hash."""
    rows = rows.filter(pa.array([uid not in gone for uid in rows.column("uid").to_pylist()], pa.bool_()))
    hashes = rows.column("phash").to_numpy().astype(np.uint64)
    own, probes = band_values(hashes), probe_values(hashes, radius)
    place = np.concatenate(
        [np.repeat(np.arange(len(hashes)), own.shape[1]), np.repeat(np.arange(len(hashes)), probes.shape[1])]
    )
    ranked = pa.table({"phash": rows.column("phash"), **_rank(rows)}).take(pa.array(place))
    key = np.concatenate([own.ravel(), probes.ravel()]).astype(np.int64)
    probe = np.concatenate([np.zeros(own.size, bool), np.ones(probes.size, bool)])
    return ranked.append_column("key", pa.array(key)).append_column("probe", pa.array(probe))


EDGE = pa.schema(
    [
        ("left", pa.string()),
        ("right", pa.string()),
        ("left_area", pa.int64()),
        ("right_area", pa.int64()),
        ("left_length", pa.int64()),
        ("right_length", pa.int64()),
        ("evidence", pa.string()),
    ]
)


def _edge_table(rows: pa.Table, left: np.ndarray, right: np.ndarray, evidence: list[str]) -> pa.Table:
    a, b = rows.take(pa.array(left)), rows.take(pa.array(right))
    columns = [a.column("uid"), b.column("uid"), a.column("area"), b.column("area"), a.column("length")]
    arrays = [column.combine_chunks() for column in [*columns, b.column("length")]]
    return pa.table([*arrays, pa.array(evidence, pa.string())], schema=EDGE)


def _edge_output(rows_in: int, edges: pa.Table) -> Output:
    return Output({"edges": edges}, {"rows": Fate(rows_in, rows_in)})


def _equal(path: str) -> Output:
    rows = storage.read_table(path).sort_by([("key", "ascending"), ("uid", "ascending")])
    keys = rows.column("key").to_pylist()
    chain = np.array([i for i in range(1, len(keys)) if keys[i] == keys[i - 1]], dtype=np.int64)
    return _edge_output(rows.num_rows, _edge_table(rows, chain - 1, chain, [f"sha256 {keys[i]}" for i in chain]))


def _near(config: DeduplicateConfig, sources: list[str], path: str) -> Output:
    rows = storage.read_table(path)
    key = rows.column("key").to_numpy()
    probe = rows.column("probe").to_numpy(zero_copy_only=False)
    hashes = rows.column("phash").to_numpy().astype(np.uint64)
    asking, answering = np.flatnonzero(probe), np.flatnonzero(~probe)
    i, j = join(key[asking], key[answering])
    left, right = asking[i], answering[j]
    uids = np.array(rows.column("uid").to_pylist(), dtype=object)
    ordered = uids[left] < uids[right]
    left, right = left[ordered], right[ordered]
    close = hamming(hashes[left], hashes[right]) <= config.radius
    left, right = left[close], right[close]
    # A pair meets in several bands and probes: once is enough.
    pairs = {(uids[a], uids[b]): k for k, (a, b) in enumerate(zip(left, right, strict=True))}
    first = np.array(sorted(pairs.values()), dtype=np.int64)
    left, right = left[first], right[first]
    looks = _thumbnails_of(sources, {*uids[left], *uids[right]})
    kept, evidence = [], []
    for place, (a, b) in enumerate(zip(left, right, strict=True)):
        distance = float(thumbnail_distance(looks[uids[a]], looks[uids[b]]))
        if distance <= config.thumbnail_distance:
            kept.append(place)
            bits = int(hamming(hashes[a], hashes[b]))
            evidence.append(f"{bits} of 64 hash bits, thumbnail distance {distance:.2f}")
    chosen = np.array(kept, dtype=np.int64)
    return _edge_output(rows.num_rows, _edge_table(rows, left[chosen], right[chosen], evidence))


def _thumbnails_of(sources: list[str], wanted: set[str]) -> dict[str, np.ndarray]:
    """Thumbnails of the wanted uids, read file by file: candidates are few, the pool is not."""
    found: dict[str, np.ndarray] = {}
    if not wanted:
        return found
    for path in sources:
        rows = storage.read_table(path, ["uid", "thumbnail8"])
        rows = rows.filter(pa.array([uid in wanted for uid in rows.column("uid").to_pylist()], pa.bool_()))
        looks = thumbnails(rows.column("thumbnail8").to_pylist())
        found.update(zip(rows.column("uid").to_pylist(), looks, strict=True))
    return found


def _edges(folder: str, records: Any) -> pa.Table:
    tables = [storage.read_table(storage.join(folder, record.files["edges"].path)) for record in records]
    return pa.concat_tables([EDGE.empty_table(), *tables])


def _losers(reason: str, edges: pa.Table) -> Losers:
    """Of each cluster all but the best pair."""
    clusters = Clusters()
    rank: dict[str, tuple[int, int, str]] = {}
    evidence: dict[str, str] = {}
    for edge in edges.sort_by([("left", "ascending"), ("right", "ascending")]).to_pylist():
        clusters.join(edge["left"], edge["right"])
        for side in ("left", "right"):
            rank[edge[side]] = (-edge[f"{side}_area"], -edge[f"{side}_length"], edge[side])
            evidence.setdefault(edge[side], edge["evidence"])
    losers: Losers = {}
    for members in clusters.members().values():
        best = min(members, key=lambda uid: rank[uid])
        losers |= {uid: (reason, best, evidence[uid]) for uid in members if uid != best}
    return losers


def _apply(losers: Losers, path: str) -> Output:
    rows = storage.read_table(path)
    verdicts = [losers.get(uid) for uid in rows.column("uid").to_pylist()]
    batch = Batch.of(rows).drop(
        [verdict[0] if verdict else None for verdict in verdicts],
        [f"of {verdict[1]}: {verdict[2]}" if verdict else None for verdict in verdicts],
    )
    return Output.of_batch(rows.num_rows, batch)
