"""The work items of selection: what each pass does with one file or one bucket (select.py says in which order)."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions, exclude
from pipeline.execution.batch import Batch
from pipeline.execution.exchange import PIECES, in_pieces, read_pieces
from pipeline.execution.ledger import Fate, Output
from pipeline.matching.matcher import Matcher
from pipeline.sample import CANDIDATE, FURTHER
from pipeline.selection.balance import keep_probabilities
from pipeline.selection.domain_frequency import occurrences
from pipeline.selection.text import filter_text
from pipeline.selection.text_config import TextConfig
from pipeline.xxh64 import hash01, hash_texts

Frequent: TypeAlias = tuple[np.ndarray, np.ndarray] | None
Work: TypeAlias = Callable[[Any], Output]

RANK = "source_rank"
# Enough columns that rows which agree in all of them are the same row: then their order cannot show.
ORDER = ("uid", RANK, "page_url", "text_origin", "heading", "licence", "crawl_id", "warc_file", "warc_offset", "location",
         "location_offset", "location_bytes")  # fmt: skip


def text(
    config: TextConfig, excluded: str | None, buckets: int, further: Sequence[str], source: tuple[int, str]
) -> Output:
    """One file of the source with that rank: text rules, then its rows cut into buckets by uid.

    All files leave with the columns `further`, which some sources have beyond sample.CANDIDATE.
    """
    rank, path = source
    rows = storage.read_table(path)
    known = [name for name in rows.column_names if name not in further]
    more = {
        name: rows.column(name)
        if name in rows.column_names
        else pa.nulls(rows.num_rows, FURTHER.get(name, pa.float64()))
        for name in further
    }
    rows = rows.select(known)
    for name, column in more.items():
        rows = rows.append_column(name, column)
    rules = Exclusions.load(excluded) if excluded else None
    batch = exclude(Batch.of(rows), rules) if rules else Batch.of(rows)
    batch = filter_text(batch, config)
    if rules and rules.rules["uid"]:  # a dataset names pairs by their final texts
        batch = exclude(batch, rules)
    kept = batch.rows.append_column(RANK, pa.array(np.full(batch.rows.num_rows, rank, np.int16)))
    pieces = in_pieces(kept, hash_texts(kept.column("uid")) % np.uint64(buckets), buckets)
    masked = {
        f"masked_{what}s": int(pc.sum(pc.count_substring(kept.column("text"), f"<{what}>")).as_py() or 0)
        for what in ("email", "phone")
        if config.mask_personal_data
    }
    fate = {"pairs": Fate.of(rows.num_rows, batch)}
    return Output({"dropped": batch.dropped}, fate, {PIECES: pieces}, masked)


def gather(paths: list[str], buckets: int, bucket: int) -> Output:
    """One bucket, sorted by uid; of rows with one uid the first by ORDER stays."""
    rows = _sorted(read_pieces(paths, buckets, bucket))
    batch = Batch.of(rows.drop_columns([RANK]))
    uids = rows.column("uid").combine_chunks()
    again = np.zeros(rows.num_rows, bool)
    again[1:] = np.asarray(pc.equal(uids.slice(1), uids.slice(0, max(0, len(uids) - 1))))
    if again.any():
        reasons = ["duplicate_pair" if double else None for double in again.tolist()]
        batch = batch.drop(reasons, rows.column("page_url").to_pylist())
    return Output.of_batch(rows.num_rows, batch)


def _sorted(rows: pa.Table) -> pa.Table:
    texts = rows.column("texts").combine_chunks()
    keys = rows.select([*ORDER, *(name for name in rows.column_names if name not in {*CANDIDATE.names, *ORDER})])
    for field in ("text", "origin"):
        lists = pa.ListArray.from_arrays(texts.offsets, texts.values.field(field).fill_null(""))
        keys = keys.append_column(f"texts.{field}", pc.binary_join(lists, "\0"))
    return rows.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))


def match(matcher: Matcher, queries: int, frequent: Frequent, path: str) -> Output:
    """The queries of each row of a bucket; a text that its domain repeats counts for none of them."""
    rows = storage.read_table(path, ["text"] if frequent is None else ["text", "url", "page_url"])
    matched = matcher.match(rows.column("text"))
    counted = matched
    columns = {"queries": matched}
    if frequent is not None:
        repeated = occurrences(rows, frequent)
        counted = matched.filter(pa.array(repeated == 0))
        columns["repeated"] = pa.array(repeated)
    fate = {"pairs": Fate(rows.num_rows, rows.num_rows)}
    return Output({"matched": pa.table(columns), "counts": _counts(counted, queries)}, fate)


def balance(chances: np.ndarray, seed: int, limit: int | None, paths: tuple[str, str]) -> Output:
    """A bucket's rows with their queries, less those that have none and those that the coin turned down."""
    rows, matched = storage.read_table(paths[0]), storage.read_table(paths[1])
    found = matched.column("queries").combine_chunks()
    batch = Batch.of(rows.append_column("queries", found))
    coins, keep = hash01(rows.column("uid"), seed), keep_probabilities(found, chances)
    reasons: list[str | None] = [None] * rows.num_rows
    evidence: list[str | None] = [None] * rows.num_rows
    for i in np.flatnonzero(coins >= keep).tolist():
        reasons[i] = "balanced_out"
        evidence[i] = f"keep probability {keep[i]:.4f}, coin {coins[i]:.4f}"
    for i in np.flatnonzero(np.asarray(pc.list_value_length(found)) == 0).tolist():
        reasons[i], evidence[i] = "no_query", None
    if "repeated" in matched.column_names:
        repeated = matched.column("repeated").to_numpy()
        for i in np.flatnonzero(repeated).tolist():
            reasons[i] = "text_frequent_in_domain"
            evidence[i] = f"{repeated[i]:,} pictures of the domain have it, {limit:,} may"
    batch = batch.drop(reasons, evidence)
    counts = _counts(batch.rows.column("queries").combine_chunks(), len(chances))
    fate = {"pairs": Fate.of(rows.num_rows, batch)}
    return Output({"kept": batch.rows, "dropped": batch.dropped, "counts": counts}, fate)


def _counts(matched: pa.ListArray, queries: int) -> pa.Table:
    """How many rows each query matched, of those that matched any."""
    flat = matched.flatten().to_numpy(zero_copy_only=False)
    counts = np.bincount(flat.astype(np.int64), minlength=queries)
    some = np.flatnonzero(counts)
    return pa.table({"query": pa.array(some, pa.int32()), "pairs": pa.array(counts[some], pa.int64())})
