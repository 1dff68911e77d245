"""Select: from candidate pairs to the pairs worth downloading.

    text     one item per file of each source: repair, rules, the pair's final text and uid; cut into buckets by uid
    gather   one item per bucket: equal pairs meet, from all sources; the first stays, by source order, then by content
    match    the queries in each text, and how often each query matched; reads texts only
    balance  with the counts of all buckets: keep iff hash01(seed, uid) < 1 - prod(1 - p_e)

Rows cross between passes as files of `rows_per_bucket` rows; what the driver holds is two counts per query. Where the query
list is taken from the texts, or texts are counted by domain, a counting pass stands before `match`.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions
from pipeline.errors import DataError
from pipeline.execution.batch import add_counts
from pipeline.execution.exchange import PIECES, Files, filled
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, PhaseResult, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.matching.matcher import Matcher
from pipeline.matching.queries import read_queries
from pipeline.matching.word_list import frequent_words
from pipeline.sample import CARRIED
from pipeline.selection import language, select_passes
from pipeline.selection.balance import earlier_counts, from_uniform, probabilities, tail_t
from pipeline.selection.domain_frequency import frequent_keys
from pipeline.selection.select_config import SelectConfig


def select(
    config: SelectConfig,
    candidates: Sequence[PhaseResult],
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Filter, match and balance the pairs of all sources. Raises DataError when no pair is left.

    A pair that several sources give is taken from the first of them. The result is the same for any number of workers and
    any order of the sources' files.
    """
    given = _check(config)
    passes = _Passes(config, folder, executor, progress)
    buckets = bucket_count(config, sum(file.rows for source in candidates for file in source.kept))
    cleaned = passes.text(candidates, buckets)
    gathered = passes.gather(cleaned, buckets)
    pool = Files(storage.join(folder, "gather"), tuple(record.files["kept"] for record in gathered))
    frequent = passes.frequent(pool, buckets)
    queries = given or passes.words(pool, buckets)
    matched = passes.match(pool, queries, frequent)
    before = _sum_counts(folder, "match", matched, len(queries))
    counts = earlier_counts(config.balance.counts, queries) if config.balance.counts else before
    wanted = config.balance.t or tail_t(counts, config.balance.tail_fraction)
    t = math.ceil(round(wanted / config.balance.expected_yield, 6))
    balanced = passes.balance(pool, matched, probabilities(counts, t), frequent)
    after = _sum_counts(folder, "balance", balanced, len(queries))
    result = _result(
        folder, candidates, {"text": cleaned, "gather": gathered, "balance": balanced}, {"buckets": buckets}
    )
    if not result.fates["pairs"].kept:
        reasons = dict(result.fates["pairs"].reasons)
        raise DataError(f"no pair left after selection: {reasons}; widen curate.select or bring more pages")
    extra = _write_curve(folder, queries, counts, before, after, t)
    result = PhaseResult(**{**vars(result), "extra": {**result.extra, **extra}})
    result.save()
    return result


def _check(config: SelectConfig) -> tuple[str, ...] | None:
    """The given query list, if any. Raises ConfigError, before any work, for files and languages that cannot be used."""
    if config.text.languages:
        language.check(config.text.languages)
    queries = read_queries(config.queries.path) if config.queries.path else None
    if config.balance.counts:
        earlier_counts(config.balance.counts, queries or ())
    return queries


def bucket_count(config: SelectConfig, rows: int) -> int:
    """Work items of a pass over `rows` pairs; depends on the pool alone, never on the machines."""
    return max(config.buckets, -(-rows // config.rows_per_bucket))


class _Passes:
    """The passes over one pool; each returns its items' records."""

    def __init__(self, config: SelectConfig, folder: str, executor: Executor, progress: Progress) -> None:
        self.config = config
        self.folder = folder
        self.executor = executor
        self.progress = progress

    def text(self, candidates: Sequence[PhaseResult], buckets: int) -> list[Record]:
        excluded = self.config.exclude
        rules = Exclusions.load(excluded).lines() if excluded else []
        further = sorted(
            {name[len(CARRIED) :] for each in candidates for name in each.telemetry if name.startswith(CARRIED)}
        )
        identity = storage.sha256("\n".join([self.config.text.model_dump_json(), *rules, *further]).encode())
        items = [
            WorkItem(
                f"text-{rank:02d}-{number:05d}",
                [file.sha256, rank, buckets, identity],
                (rank, storage.join(source.folder, file.path)),
            )
            for rank, source in enumerate(candidates)
            for number, file in enumerate(source.kept)
        ]
        work = functools.partial(select_passes.text, self.config.text, excluded, buckets, further)
        return self._run("text", work, items, "text rules")

    def gather(self, cleaned: Sequence[Record], buckets: int) -> list[Record]:
        pieces = [record.files[PIECES] for record in cleaned]
        paths = [storage.join(self.folder, "text", piece.path) for piece in pieces]
        # By content, not by place: input files in another order are the same work.
        digest = storage.sha256(storage.canonical_json(sorted(piece.sha256 for piece in pieces)))
        items = [
            WorkItem(f"gather-{bucket:05d}", [digest, buckets, bucket], bucket) for bucket in filled(paths, buckets)
        ]
        return self._run("gather", functools.partial(select_passes.gather, paths, buckets), items, "gather equal pairs")

    def frequent(self, pool: Files, buckets: int) -> select_passes.Frequent:
        limit = self.config.text.maximum_per_domain
        if limit is None:
            return None
        folder = storage.join(self.folder, "frequent")
        return frequent_keys(pool, limit, buckets, folder, self.executor, self.progress)

    def words(self, pool: Files, buckets: int) -> tuple[str, ...]:
        folder, minimum = storage.join(self.folder, "words"), self.config.queries.minimum_count
        return frequent_words(pool, minimum, buckets, folder, self.executor, self.progress)

    def match(self, pool: Files, queries: Sequence[str], frequent: select_passes.Frequent) -> list[Record]:
        identity = [storage.sha256("\n".join(queries).encode()), self.config.queries.rule, _digest(frequent)]
        items = pool.items("match", identity)
        if not items:
            return []
        work = functools.partial(
            select_passes.match, Matcher.of(queries, self.config.queries.rule), len(queries), frequent
        )
        return self._run("match", work, items, "match queries")

    def balance(
        self, pool: Files, matched: Sequence[Record], chances: np.ndarray, frequent: select_passes.Frequent
    ) -> list[Record]:
        seed = self.config.balance.seed
        identity = [storage.sha256(chances.tobytes()), seed]
        items = [
            WorkItem(
                f"balance-{number:05d}",
                [file.sha256, record.files["matched"].sha256, *identity],
                (pool.path(file), storage.join(self.folder, "match", record.files["matched"].path)),
            )
            for number, (file, record) in enumerate(zip(pool.parts, matched, strict=True))
        ]
        limit = self.config.text.maximum_per_domain
        return self._run("balance", functools.partial(select_passes.balance, chances, seed, limit), items, "balance")

    def _run(self, name: str, work: select_passes.Work, items: Sequence[WorkItem], what: str) -> list[Record]:
        return run_items(storage.join(self.folder, name), work, items, self.executor, self.progress, what)


def _digest(frequent: select_passes.Frequent) -> str | None:
    return storage.sha256(frequent[0].tobytes() + frequent[1].tobytes()) if frequent else None


def _sum_counts(folder: str, name: str, records: Sequence[Record], queries: int) -> np.ndarray:
    total = np.zeros(queries, dtype=np.int64)
    for record in records:
        table = storage.read_table(storage.join(folder, name, record.files["counts"].path))
        total[table.column("query").to_numpy()] += table.column("pairs").to_numpy()
    return total


def _result(
    folder: str,
    candidates: Sequence[PhaseResult],
    passes: dict[str, Sequence[Record]],
    extra: dict[str, int],
) -> PhaseResult:
    parts = {
        name: PhaseResult.of_records(name, storage.join(folder, name), records) for name, records in passes.items()
    }
    reasons = add_counts([part.fates["pairs"].reasons for part in parts.values()])
    rows_in = sum(source.fates["pairs"].kept for source in candidates)
    return PhaseResult(
        "select",
        folder,
        tuple(file.below("balance") for file in parts["balance"].kept),
        # Sorted, because the sources' files may come in any order.
        tuple(
            file.below(name)
            for name, part in parts.items()
            for file in sorted(part.dropped, key=lambda file: file.sha256)
        ),
        {"pairs": Fate(rows_in, parts["balance"].fates["pairs"].kept, reasons)},
        extra,
        add_counts([part.telemetry for part in parts.values()]),
    )


def _write_curve(
    folder: str, queries: Sequence[str], counts: np.ndarray, before: np.ndarray, after: np.ndarray, t: int
) -> dict[str, int | float]:
    """queries.parquet: pairs per query before and after, its p_e and the `counts` that made it (an earlier selection's, or
    `before`); returns the figures that sum it up."""
    columns = {
        "query": pa.array(queries, pa.string()),
        "before": pa.array(before),
        "counts": pa.array(counts),
        "after": pa.array(after),
        "keep_probability": pa.array(probabilities(counts, t)),
    }
    table = pa.table(columns).replace_schema_metadata({"t": str(t)})
    storage.write_table(storage.join(folder, "queries.parquet"), table)
    total = int(before.sum())
    return {
        "t": t,
        "queries": len(queries),
        "queries_matched": int((before > 0).sum()),
        "queries_without_a_pair": int((before == 0).sum()),
        "queries_above_t": int((before > t).sum()),
        "matches_before": total,
        "matches_after": int(after.sum()),
        "bits_from_uniform_before": from_uniform(before),
        "bits_from_uniform_after": from_uniform(after),
        "tail_share": round(float(before[before < t].sum()) / total, 6) if total else 0.0,
        "most_pairs_of_a_query": int(pc.max(table.column("after")).as_py() or 0),
    }
