"""The exact score threshold of "keep the best 30 %", over any number of files, with one small count table in memory.

DataComp (arXiv:2304.14108, baselines/apply_filter.py) sorts all scores in one process and takes the value at index
int(N * fraction). This is the same value by counting: scores become integers that sort alike, each pass counts one digit
of 16 bits among the rows that share the digits found so far, and the digit in which the wanted rank falls is the next. Rows
of an equal score go by uid, so the answer depends on no order of files and rows. A bucket of few rows is read at once.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, File, Output, WorkItem, run_items
from pipeline.execution.progress import Progress, silent

FEW = 100_000
"""Rows that the driver sorts itself: about 100 bytes each."""
ROWS_PER_ITEM = 1_000_000
_SCORE_DIGITS = 2
_UID_HEX = 4  # hex digits of a uid in one digit of 16 bits


@dataclass(frozen=True)
class Cut:
    """The last row that stays: those before it in the order (better score, then smaller uid) stay too."""

    score: float
    uid: str
    rows: int
    """Rows that have a score at all."""
    stay: int

    def keeps(self, scores: NDArray[np.float32], uids: Sequence[str], highest: bool) -> NDArray[np.bool_]:
        keys, last = sort_keys(scores, highest), sort_keys(np.array([self.score], np.float32), highest)[0]
        before = np.array([uid <= self.uid for uid in uids], bool)
        kept: NDArray[np.bool_] = ((keys < last) | ((keys == last) & before)) & ~np.isnan(scores)
        return kept


def sort_keys(scores: NDArray[np.float32], highest: bool) -> NDArray[np.uint32]:
    """32-bit integers in ascending order from the best score to the worst; -0 and 0 are equal."""
    bits = (np.asarray(scores, np.float32) + np.float32(0)).view(np.uint32)
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))
    return (~ascending if highest else ascending).astype(np.uint32)


def top_fraction(
    source: Files,
    column: str,
    fraction: float,
    highest: bool,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
    few: int = FEW,
) -> Cut | None:
    """Where to cut the rows (uid, `column`) of `source`; None where no row has a score. NaN scores do not count."""
    items = _groups(source)
    prefix: tuple[int, ...] = ()
    rank = rows = stay = -1
    while True:
        name = f"digit-{len(prefix)}"
        counts = _counts(items, column, highest, prefix, storage.join(folder, name), executor, progress)
        if not prefix:
            rows = int(counts.sum())
            if not rows:
                return None
            rank = min(int(rows * fraction), rows - 1)
            stay = rank + 1
        ends = np.cumsum(counts)
        digit = int(np.searchsorted(ends, rank, side="right"))
        rank -= int(ends[digit] - counts[digit])
        prefix = (*prefix, digit)
        if counts[digit] <= few or len(prefix) == _SCORE_DIGITS + 8:
            break
    records = run_items(
        storage.join(folder, "rows"),
        functools.partial(_rows, column, highest, prefix),
        _identified(items, [column, highest, list(prefix)]),
        executor,
        progress,
        "rows at the threshold",
    )
    found = [
        row
        for record in records
        for row in storage.read_table(storage.join(folder, "rows", record.files["rows"].path)).to_pylist()
    ]
    found.sort(key=lambda row: (int(sort_keys(np.array([row["score"]], np.float32), highest)[0]), row["uid"]))
    last = found[rank]
    return Cut(float(last["score"]), last["uid"], rows, stay)


def _groups(source: Files) -> list[WorkItem]:
    """Small score files together, about ROWS_PER_ITEM rows in one item."""
    groups: list[list[File]] = []
    rows = ROWS_PER_ITEM
    for part in source.parts:
        if rows >= ROWS_PER_ITEM:
            groups.append([])
            rows = 0
        groups[-1].append(part)
        rows += part.rows
    return [
        WorkItem(f"group-{i:05d}", [part.sha256 for part in group], [source.path(part) for part in group])
        for i, group in enumerate(groups)
    ]


def _identified(items: Sequence[WorkItem], identity: object) -> list[WorkItem]:
    return [WorkItem(item.name, [item.identity, identity], item.arguments) for item in items]


def _counts(
    items: Sequence[WorkItem],
    column: str,
    highest: bool,
    prefix: tuple[int, ...],
    folder: str,
    executor: Executor,
    progress: Progress,
) -> NDArray[np.int64]:
    work = functools.partial(_count, column, highest, prefix)
    records = run_items(
        folder, work, _identified(items, [column, highest, list(prefix)]), executor, progress, "threshold"
    )
    total = np.zeros(1 << 16, np.int64)
    for record in records:
        table = storage.read_table(storage.join(folder, record.files["counts"].path))
        total[table.column("digit").to_numpy()] += table.column("rows").to_numpy()
    return total


def _read(column: str, path: str) -> pa.Table:
    rows = storage.read_table(path, ["uid", column])
    scores = rows.column(column).to_numpy(zero_copy_only=False).astype(np.float32)
    return rows.filter(pa.array(~np.isnan(scores)))


def _matching(column: str, highest: bool, prefix: tuple[int, ...], path: str) -> tuple[pa.Table, list[int]]:
    """The rows of one file whose first digits are `prefix`, and the next digit of each."""
    rows = _read(column, path)
    keys = sort_keys(rows.column(column).to_numpy(), highest)
    kept = np.ones(len(keys), bool)
    for place, wanted in enumerate(prefix[:_SCORE_DIGITS]):
        kept &= (keys >> (16 if place == 0 else 0)) & 0xFFFF == wanted
    rows, keys = rows.filter(pa.array(kept)), keys[kept]
    begin = "".join(f"{digit:0{_UID_HEX}x}" for digit in prefix[_SCORE_DIGITS:])
    uids = rows.column("uid").to_pylist()
    if begin:
        like = np.array([uid.startswith(begin) for uid in uids], bool)
        rows, keys, uids = rows.filter(pa.array(like)), keys[like], [uid for uid in uids if uid.startswith(begin)]
    if len(prefix) < _SCORE_DIGITS:
        return rows, ((keys >> (16 if not prefix else 0)) & 0xFFFF).tolist()
    start = len(begin)
    return rows, [int(uid[start : start + _UID_HEX] or "0", 16) for uid in uids]


def _count(column: str, highest: bool, prefix: tuple[int, ...], paths: list[str]) -> Output:
    counts = np.zeros(1 << 16, np.int64)
    for path in paths:
        counts += np.bincount(np.array(_matching(column, highest, prefix, path)[1], np.int64), minlength=1 << 16)
    some = np.flatnonzero(counts)
    table = pa.table({"digit": pa.array(some, pa.int32()), "rows": pa.array(counts[some], pa.int64())})
    return Output({"counts": table}, {"rows": Fate(int(counts.sum()), int(counts.sum()))})


def _rows(column: str, highest: bool, prefix: tuple[int, ...], paths: list[str]) -> Output:
    schema = pa.schema([("uid", pa.string()), ("score", pa.float32())])
    tables = [_matching(column, highest, prefix, path)[0].rename_columns(schema.names).cast(schema) for path in paths]
    rows = pa.concat_tables([schema.empty_table(), *tables])
    return Output({"rows": rows}, {"rows": Fate(rows.num_rows, rows.num_rows)})
