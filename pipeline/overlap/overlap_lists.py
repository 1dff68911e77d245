"""The lists of CLIP's overlap analysis, per benchmark: which of its pictures the training data has, and which not.

    overlap/<task>/overlap.parquet   task, index, key, and the nearest training pair: uid, variant, distances (FOUND)
    overlap/<task>/clean.parquet     task, index, key
    overlap/<task>/all.parquet       task, index, key
    overlap/summary.json             {"mode": "remove" or "mark", "tasks": {task: {"all": n, "overlap": n}}}

`index` is the picture's place in its benchmark. The lists lie beside a finished dataset's manifest, whose parents fix them;
`evaluation/overlap.py` reads them there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress
from pipeline.overlap.near_references import FOUND, best, read_columns
from pipeline.overlap.references import References

FOLDER = "overlap"
SUMMARY = f"{FOLDER}/summary.json"
LISTS = ("overlap", "clean", "all")


def write_lists(
    index: References, found: Sequence[tuple[str, str]], mode: str, folder: str, executor: Executor, progress: Progress
) -> dict[str, Any]:
    """Write the lists of every task below `folder` from the search's results (path, checksum); returns their counts."""
    paths = [storage.join(index.index.folder, file.path) for file in index.index.kept]
    checksums = [checksum for _, checksum in found]
    items = [
        WorkItem(f"lists-{number:05d}", [task, index.id, checksums], (task, paths, [path for path, _ in found]))
        for number, task in enumerate(index.tasks)
    ]
    records = run_items(folder, _lists, items, executor, progress, "overlap lists")
    counts = {
        task: {
            "all": record.fates["pictures"].rows_in,
            "overlap": record.fates["pictures"].kept,
            "sha256": record.files[f"{FOLDER}/{task}/overlap.parquet"].sha256,
        }
        for task, record in zip(index.tasks, records, strict=True)
    }
    storage.write_json(storage.join(folder, SUMMARY), {"mode": mode, "tasks": counts})
    return counts


def _lists(argument: tuple[str, list[str], list[str]]) -> Output:
    task, index_paths, found_paths = argument
    pictures = pa.concat_tables(
        [_pictures(read_columns(path, ["task", "index", "key", "variant"]), task) for path in index_paths]
    )
    pictures = pictures.sort_by("index")
    overlap = FOUND.empty_table()
    for path in found_paths:
        rows = storage.read_table(path)
        rows = rows.filter(pc.equal(rows.column("task"), task))
        overlap = best(pa.concat_tables([overlap, rows]), ("task", "index"))
    touched = np.isin(pictures.column("index").to_numpy(), overlap.column("index").to_numpy())
    clean = pictures.filter(pa.array(~touched))
    lists = {"overlap": overlap, "clean": clean, "all": pictures}
    fate = Fate(pictures.num_rows, overlap.num_rows, {"clean": clean.num_rows} if clean.num_rows else {})
    files = {f"{FOLDER}/{task}/{name}.parquet": storage.table_bytes(rows) for name, rows in lists.items()}
    return Output({}, {"pictures": fate}, final=files)


def _pictures(rows: pa.Table, task: str) -> pa.Table:
    mine = pc.and_(pc.equal(rows.column("task"), task), pc.equal(rows.column("variant"), "same"))
    return rows.filter(mine).select(["task", "index", "key"])


def carry(phase_folder: str, folder: str) -> None:
    """Copy the lists and thresholds of a finished phase beside a dataset, before its manifest is written."""
    names = [SUMMARY, "thresholds.parquet"]
    for task in storage.list_names(storage.join(phase_folder, FOLDER)):
        names += [f"{FOLDER}/{task}/{name}.parquet" for name in LISTS]
    for name in names:
        path = storage.join(phase_folder, name)
        if storage.exists(path):
            storage.write_bytes(storage.join(folder, name), storage.read_bytes(path))
