"""The thresholds of all evaluation sets as a pass over the training data: a drawn sample, then one work item per set.

thresholds.parquet (pipeline/overlap/calibrate.py, THRESHOLDS) is left in the phase's folder: the limits, and the precision and
recall per change that the half which did not choose gave.
"""

import functools
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, Progress, WorkItem, run_items
from pipeline.overlap.calibrate import THRESHOLDS, choose, half, prepare, table
from pipeline.overlap.lookup import Limits
from pipeline.overlap.near_references import DESCRIPTORS, read_columns
from pipeline.overlap.references import References

NAME = "thresholds.parquet"


def calibrate(
    index: References,
    source: Files,
    wanted: tuple[int, float, int],
    folder: str,
    executor: Executor,
    progress: Progress,
) -> tuple[dict[str, Limits], Any]:
    """(limits by task, the checksum of their table); `wanted` is the search radius, precision and number of distractors."""
    distractors = wanted[2]
    total = sum(part.rows for part in source.parts)
    share = min(1.0, distractors / total) if total else 0.0
    inside = storage.join(folder, "calibrate")
    drawn = run_items(
        storage.join(inside, "sample"),
        functools.partial(_sample, share),
        source.items("sample", share),
        executor,
        progress,
        "distractors",
    )
    sample = Files(storage.join(inside, "sample"), tuple(record.files["sample"] for record in drawn))
    paths = tuple(
        [Files(part.folder, part.kept).path(file) for file in part.kept] for part in (index.index, index.planted)
    )
    samples = [sample.path(part) for part in sample.parts]
    identity = [index.id, [part.sha256 for part in sample.parts], list(wanted)]
    items = [
        WorkItem(f"threshold-{number:05d}", [task, identity], (task, *paths, samples))
        for number, task in enumerate(index.tasks)
    ]
    measured = run_items(inside, functools.partial(_threshold, wanted), items, executor, progress, "thresholds")
    tables = [storage.read_table(storage.join(inside, record.files["thresholds"].path)) for record in measured]
    data = storage.table_bytes(pa.concat_tables([THRESHOLDS.empty_table(), *tables]))
    storage.write_bytes(storage.join(folder, NAME), data)
    return limits_of(pa.concat_tables([THRESHOLDS.empty_table(), *tables])), storage.sha256(data)


def limits_of(thresholds: pa.Table) -> dict[str, Limits]:
    """Task -> its limits, from a table of schema THRESHOLDS."""
    return {
        row["task"]: Limits(row["radius"], row["thumbnail_distance"], row["distance"])
        for row in thresholds.filter(pc.equal(thresholds.column("change"), "all")).to_pylist()
    }


def _sample(share: float, path: str) -> Output:
    """The rows whose uid, a hash, lies in the first `share` of its range: the same rows however files are cut."""
    rows = read_columns(path, ["uid", *DESCRIPTORS])
    limit = int(share * 2.0**64)
    drawn = rows.filter(pa.array([int(uid[:16], 16) < limit for uid in rows.column("uid").to_pylist()], pa.bool_()))
    return Output({"sample": drawn}, {"pairs": Fate(rows.num_rows, rows.num_rows)})


def _threshold(wanted: tuple[int, float, int], argument: tuple[str, list[str], list[str], list[str]]) -> Output:
    radius, precision, others = wanted
    task, index_paths, planted_paths, sample_paths = argument
    index, planted = (
        pa.concat_tables([_of_task(path, task) for path in paths]) for paths in (index_paths, planted_paths)
    )
    training = pa.concat_tables([storage.read_table(path) for path in sample_paths]).sort_by("uid")
    trial = prepare(task, index, planted, training, radius, others)
    halves = [half(trial, side) for side in (0, 1)]
    by_half = [choose(one, radius, precision) for one in halves]
    stricter = 0 if by_half[0].distance <= by_half[1].distance else 1
    figures = table(halves[1 - stricter], by_half[stricter])
    rows = pa.Table.from_pylist(figures, schema=THRESHOLDS)
    return Output({"thresholds": rows}, {"rows": Fate(rows.num_rows, rows.num_rows)})


def _of_task(path: str, task: str) -> pa.Table:
    rows = storage.read_table(path)
    return rows.filter(pc.equal(rows.column("task"), task))
