"""Select: from candidate pairs to the pairs worth downloading.

    gather   the same URL and text again falls (pairs are exchanged by hash of URL, so each bucket sees all of its kind)
    filter   text rules; then match against the query list; counts per query
    balance  with the counts of all buckets: keep iff hash01(seed, uid) < 1 - prod(1 - p_e)

Each pass is a set of work items over buckets; what crosses between them is one count per query, never the rows.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.batch import Batch
from pipeline.errors import DataError
from pipeline.exchange import Files, exchange
from pipeline.exclusion import Exclusions, exclude
from pipeline.executor import Executor
from pipeline.ledger import Fate, Output, PhaseResult, Progress, Record, run_items, silent
from pipeline.queries import (
    BalanceConfig,
    Matcher,
    QueriesConfig,
    count_words,
    hash01,
    keep_probability,
    read_queries,
    tail_t,
)
from pipeline.settings import Settings
from pipeline.text import TextConfig, filter_text


class SelectConfig(Settings):
    """Which pairs are worth downloading."""

    text: TextConfig = TextConfig()
    """Text rules."""
    queries: QueriesConfig = QueriesConfig()
    """The query list and the matching rule."""
    balance: BalanceConfig = BalanceConfig()
    """Pairs per query."""
    exclude: str | None = None
    """File of rules (url, domain, uid) whose pairs are left out: the tombstones.txt of a takedown, say."""
    buckets: int = Field(4, ge=1)
    """Work items of each pass; memory of one is about the pool divided by this."""


def select(
    config: SelectConfig,
    candidates: PhaseResult,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Filter, match and balance the crawl's pairs. Raises DataError when no pair is left."""
    pool = Files(candidates.folder, candidates.kept)
    gathered = exchange(pool, "url", config.buckets, storage.join(folder, "gather"), executor, progress)
    filtered = run_items(
        storage.join(folder, "filter"),
        functools.partial(_filter, config.text, config.exclude),
        gathered.items("filter", Exclusions.load(config.exclude).lines() if config.exclude else None),
        executor,
        progress,
        "text rules",
    )
    queries = _query_list(config.queries, folder, filtered)
    matched = run_items(
        storage.join(folder, "match"),
        functools.partial(_match, queries, config.queries.rule),
        _kept(folder, "filter", filtered).items("match", [_digest(queries), config.queries.rule]),
        executor,
        progress,
        "match queries",
    )
    before = _sum_counts(folder, "match", "counts", matched, len(queries))
    t = config.balance.t or tail_t(before, config.balance.tail_fraction)
    balanced = run_items(
        storage.join(folder, "balance"),
        functools.partial(_balance, before, t, config.balance.seed),
        _kept(folder, "match", matched).items("balance", [storage.sha256(before.tobytes()), t]),
        executor,
        progress,
        "balance",
    )
    after = _sum_counts(folder, "balance", "counts", balanced, len(queries))
    result = _result(config, folder, candidates, [filtered, matched, balanced], queries, before, after, t)
    if not result.fates["pairs"].kept:
        raise DataError(
            f"no pair left after selection: {dict(result.fates['pairs'].reasons)}; widen curate.select or crawl more pages"
        )
    result.save()
    return result


def _kept(folder: str, name: str, records: Sequence[Record]) -> Files:
    return Files(storage.join(folder, name), tuple(record.files["kept"] for record in records))


def _filter(config: TextConfig, excluded: str | None, path: str) -> Output:
    rows = storage.read_table(path)
    batch = Batch.of(rows)
    if excluded:
        batch = exclude(batch, Exclusions.load(excluded))
    # Rows arrive sorted by uid; of equal pairs the first (smallest page URL) stays.
    uids = batch.column("uid")
    again = [i > 0 and uids[i] == uids[i - 1] for i in range(len(uids))]
    batch = batch.drop(["duplicate_pair" if double else None for double in again], batch.column("page_url"))
    return Output.of_batch(rows.num_rows, filter_text(batch, config))


def _match(queries: Sequence[str], rule: str, path: str) -> Output:
    rows = storage.read_table(path)
    numbers = Matcher(queries, rule).match(rows.column("text").to_pylist())
    batch = Batch.of(rows).with_column("queries", numbers, pa.list_(pa.int32()))
    batch = batch.drop([None if found else "no_query" for found in numbers])
    return _with_counts(rows.num_rows, batch, len(queries))


def _balance(counts: np.ndarray, t: int, seed: int, path: str) -> Output:
    rows = storage.read_table(path)
    chances = [keep_probability(matched, counts, t) for matched in rows.column("queries").to_pylist()]
    coins = [hash01(seed, uid) for uid in rows.column("uid").to_pylist()]
    falls = [coin >= chance for coin, chance in zip(coins, chances, strict=True)]
    evidence = [f"keep probability {chance:.4f}, coin {coin:.4f}" for coin, chance in zip(coins, chances, strict=True)]
    batch = Batch.of(rows).drop(["balanced_out" if fall else None for fall in falls], evidence)
    return _with_counts(rows.num_rows, batch, len(counts))


def _with_counts(rows_in: int, batch: Batch, queries: int) -> Output:
    """The batch and, as a table of its own, how many kept pairs each query matched (non-zero ones only)."""
    flat = batch.rows.column("queries").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    counts = np.bincount(flat.astype(np.int64), minlength=queries)
    some = np.flatnonzero(counts)
    table = pa.table({"query": pa.array(some, pa.int32()), "pairs": pa.array(counts[some], pa.int64())})
    fate = Fate.of(rows_in, batch)
    return Output({"kept": batch.rows, "dropped": batch.dropped, "counts": table}, {"pairs": fate})


def _sum_counts(folder: str, name: str, label: str, records: Sequence[Record], queries: int) -> np.ndarray:
    total = np.zeros(queries, dtype=np.int64)
    for record in records:
        table = storage.read_table(storage.join(folder, name, record.files[label].path))
        total[table.column("query").to_numpy()] += table.column("pairs").to_numpy()
    return total


def _query_list(config: QueriesConfig, folder: str, filtered: Sequence[Record]) -> tuple[str, ...]:
    if config.path:
        return read_queries(config.path)
    counts: dict[str, int] = {}
    for record in filtered:
        texts = storage.read_table(storage.join(folder, "filter", record.files["kept"].path), ["text"])
        for word, count in count_words(texts.column("text").to_pylist()).items():
            counts[word] = counts.get(word, 0) + count
    return tuple(sorted(word for word, count in counts.items() if count >= config.minimum_count))


def _digest(queries: Sequence[str]) -> str:
    return storage.sha256("\n".join(queries).encode())


def _result(
    config: SelectConfig,
    folder: str,
    candidates: PhaseResult,
    passes: Sequence[Sequence[Record]],
    queries: Sequence[str],
    before: np.ndarray,
    after: np.ndarray,
    t: int,
) -> PhaseResult:
    names = ("filter", "match", "balance")
    parts = [
        PhaseResult.of_records(name, storage.join(folder, name), records)
        for name, records in zip(names, passes, strict=True)
    ]
    curve = pa.table({"query": list(queries), "before": pa.array(before), "after": pa.array(after)})
    storage.write_table(storage.join(folder, "queries.parquet"), curve)
    reasons: dict[str, int] = {}
    for part in parts:
        for reason, count in part.fates["pairs"].reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    fate = Fate(candidates.fates["pairs"].kept, parts[-1].fates["pairs"].kept, dict(sorted(reasons.items())))
    return PhaseResult(
        "select",
        folder,
        tuple(file.below("balance") for file in parts[-1].kept),
        tuple(file.below(name) for name, part in zip(names, parts, strict=True) for file in part.dropped),
        {"pairs": fate},
        {"t": t, "queries": len(queries), "queries_matched": int((before > 0).sum()), "buckets": config.buckets},
    )
