"""The thresholds of all evaluation sets as a pass over the training data: a drawn sample, then one work item per set.

thresholds.parquet (pipeline/overlap/calibrate.py, THRESHOLDS) is left in the phase's folder: the limits, and the precision and
recall per change that the half which did not choose gave.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress
from pipeline.overlap.calibrate import THRESHOLDS, choose, half, prepare, table
from pipeline.overlap.calibrate_cosine import choose_cosine, with_cosines
from pipeline.overlap.changes import DECOY
from pipeline.overlap.embedded import COLUMN
from pipeline.overlap.lookup import Limits
from pipeline.overlap.near_references import DESCRIPTORS, read_columns
from pipeline.overlap.references import References

NAME = "thresholds.parquet"


@dataclass(frozen=True)
class Wanted:
    """Search radius in bits of 64, precision, at most so many distractors of either kind, and whether embeddings count."""

    radius: int
    precision: float
    distractors: int
    embeddings: bool = False

    @property
    def columns(self) -> list[str]:
        return [*DESCRIPTORS, *([COLUMN] if self.embeddings else [])]


def calibrate(
    index: References,
    source: Files,
    wanted: Wanted,
    folder: str,
    executor: Executor,
    progress: Progress,
) -> tuple[dict[str, Limits], Any]:
    """(limits by task, the checksum of their table);"""
    total = sum(part.rows for part in source.parts)
    share = min(1.0, wanted.distractors / total) if total else 0.0
    inside = storage.join(folder, "calibrate")
    drawn = run_items(
        storage.join(inside, "sample"),
        functools.partial(_sample, share, wanted.columns),
        source.items("sample", [share, wanted.columns]),
        executor,
        progress,
        "distractors",
    )
    sample = Files(storage.join(inside, "sample"), tuple(record.files["sample"] for record in drawn))
    paths = tuple(
        [Files(part.folder, part.kept).path(file) for file in part.kept] for part in (index.index, index.planted)
    )
    samples = [sample.path(part) for part in sample.parts]
    identity = [index.id, [part.sha256 for part in sample.parts], list(vars(wanted).values())]
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
        row["task"]: Limits(row["radius"], row["thumbnail_distance"], row["distance"], row["cosine"])
        for row in thresholds.filter(pc.equal(thresholds.column("change"), "all")).to_pylist()
    }


def _sample(share: float, columns: list[str], path: str) -> Output:
    """The rows whose uid, a hash, lies in the first `share` of its range: the same rows however files are cut."""
    rows = read_columns(path, ["uid", *columns])
    limit = int(share * 2.0**64)
    drawn = rows.filter(pa.array([int(uid[:16], 16) < limit for uid in rows.column("uid").to_pylist()], pa.bool_()))
    return Output({"sample": drawn}, {"pairs": Fate(rows.num_rows, rows.num_rows)})


def _threshold(wanted: Wanted, argument: tuple[str, list[str], list[str], list[str]]) -> Output:
    task, index_paths, planted_paths, sample_paths = argument
    index, planted = (
        pa.concat_tables([_of_task(path, task) for path in paths]) for paths in (index_paths, planted_paths)
    )
    decoy = pc.equal(planted.column("variant"), DECOY)
    planted, decoys = planted.filter(pc.invert(decoy)), planted.filter(decoy)
    training = pa.concat_tables([storage.read_table(path) for path in sample_paths]).sort_by("uid")
    trial = prepare(task, index, planted, training, wanted.radius, wanted.distractors)
    halves = [half(trial, side) for side in (0, 1)]
    by_half = [choose(one, wanted.radius, wanted.precision) for one in halves]
    stricter = 0 if by_half[0].distance <= by_half[1].distance else 1
    limits = by_half[stricter]
    if wanted.embeddings:
        trial = with_cosines(trial, index, planted, decoys, training, limits)
        halves = [half(trial, side) for side in (0, 1)]
        limits = replace(limits, cosine=choose_cosine(halves[stricter], limits, wanted.precision))
    figures = table(halves[1 - stricter], limits)
    rows = pa.Table.from_pylist(figures, schema=THRESHOLDS)
    return Output({"thresholds": rows}, {"rows": Fate(rows.num_rows, rows.num_rows)})


def _of_task(path: str, task: str) -> pa.Table:
    rows = storage.read_table(path)
    return rows.filter(pc.equal(rows.column("task"), task))
