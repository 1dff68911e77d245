"""The pilot's sample: of each source the N selected pairs whose uid has the smallest hash.

Which pairs those are depends on nothing but their uids: no order of files, no worker, no random state. Memory: N pairs per
source, and where there are several sources, the hashes (8 bytes a pair) of a share of each source's pairs.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import xxhash

from pipeline import storage
from pipeline.execution.ledger import Fate, File, PhaseResult

WHOLE = 1 << 64
MOST_HASHES = 2_000_000
"""Hashes held per source to tell whose a selected pair is."""


def place(uid: str) -> int:
    """Where a uid stands in the draw, 64 bits."""
    return xxhash.xxh64_intdigest(f"pilot\0{uid}".encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Sample:
    """The drawn pairs as a phase called select, and how many selected pairs each of them stands for."""

    phase: PhaseResult
    weights: Mapping[str, float]


def draw(selected: PhaseResult, pools: Mapping[str, PhaseResult], count: int, folder: str) -> Sample:
    """The sample in one file, to be read by the steps that follow select."""
    weights = drawn(selected, pools, count)
    tables = []
    for file in selected.kept:
        rows = storage.read_table(storage.join(selected.folder, file.path))
        inside = [uid in weights for uid in rows.column("uid").to_pylist()]
        tables.append(rows.filter(pa.array(inside, pa.bool_())))
    rows = pa.concat_tables(tables).sort_by([("uid", "ascending")])
    data = storage.table_bytes(rows)
    name = "data/sample.parquet"
    storage.write_bytes(storage.join(folder, name), data)
    curve = storage.join(selected.folder, "queries.parquet")
    if storage.exists(curve):
        storage.write_bytes(storage.join(folder, "queries.parquet"), storage.read_bytes(curve))
    part = File(name, rows.num_rows, len(data), storage.sha256(data))
    fates = {"pairs": Fate(rows.num_rows, rows.num_rows)}
    sampled = PhaseResult(selected.name, folder, (part,), (), fates, selected.extra)
    sampled.save()
    return Sample(sampled, weights)


def drawn(selected: PhaseResult, pools: Mapping[str, PhaseResult], count: int) -> dict[str, float]:
    """uid -> weight of N pairs per source: the smallest by `place`. A pair of two sources counts for the first."""
    if len(pools) < 2:
        chosen = _smallest(((place(uid), uid) for uid in _uids(selected)), count)
        return dict.fromkeys(chosen, selected.fates["pairs"].kept / max(1, len(chosen)))
    weights: dict[str, float] = {}
    for pool in pools.values():
        bound, hashes = _hashes(pool)
        seen = 0

        def mine(bound: int = bound, hashes: set[int] = hashes) -> Iterator[tuple[int, str]]:
            nonlocal seen
            for uid, url in _rows(selected, ["uid", "url"]):
                if (at := place(url)) < bound and at in hashes:
                    seen += 1
                    yield place(uid), uid

        chosen = _smallest(mine(), count)
        whole = seen / (bound / WHOLE)
        weights = dict.fromkeys(chosen, whole / max(1, len(chosen))) | weights
    return weights


def weighed(result: PhaseResult, weights: Mapping[str, float]) -> Fate:
    """The fate of the sample as that of an even draw: where sources differ in weight, of fewer rows than were drawn."""
    if len({*weights.values()}) < 2:
        return result.fates["pairs"]
    kept = [weights[uid] for uid in _uids(result)]
    reasons: dict[str, float] = {}
    squares = sum(weight**2 for weight in kept)
    for file in result.dropped:
        rows = storage.read_table(storage.join(result.folder, file.path), ["uid", "reason"])
        for uid, reason in zip(rows.column("uid").to_pylist(), rows.column("reason").to_pylist(), strict=True):
            reasons[reason] = reasons.get(reason, 0.0) + weights[uid]
            squares += weights[uid] ** 2
    whole = sum(kept) + sum(reasons.values())
    rows_in = round(whole**2 / squares) if squares else 0
    counts = {reason: round(rows_in * weight / whole) for reason, weight in sorted(reasons.items())} if whole else {}
    counts = {reason: count for reason, count in counts.items() if count}
    return Fate(rows_in, max(0, rows_in - sum(counts.values())), counts)


def _smallest(pairs: Iterator[tuple[int, str]], count: int) -> list[str]:
    return [uid for _, uid in heapq.nsmallest(count, pairs)]


def _hashes(pool: PhaseResult) -> tuple[int, set[int]]:
    """Of a source's URLs those whose hash is below a bound: (bound, the hashes). Selection changes a uid, never a URL."""
    rows = max(1, pool.fates["pairs"].kept)
    bound = WHOLE if rows <= MOST_HASHES else int(WHOLE * (MOST_HASHES / rows))
    return bound, {at for (url,) in _rows(pool, ["url"]) if (at := place(url)) < bound}


def _rows(result: PhaseResult, columns: list[str]) -> Iterator[tuple[str, ...]]:
    for file in result.kept:
        rows = storage.read_table(storage.join(result.folder, file.path), columns)
        yield from zip(*(rows.column(name).to_pylist() for name in columns), strict=True)


def _uids(result: PhaseResult) -> Iterator[str]:
    return (uid for (uid,) in _rows(result, ["uid"]))
