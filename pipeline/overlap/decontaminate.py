"""Decontaminate: find training pictures that are (nearly) evaluation pictures, and remove or mark them.

CLIP (arXiv:2103.00020, section 5) measures the overlap, DataComp (arXiv:2304.14108, section 3.1) removes it; both need the
same list. The index of evaluation pictures comes from pipeline/overlap/references.py.

    sample      a drawn part of the training pictures, as distractors        \
    calibrate   per evaluation set: the threshold, and what it finds          } with thresholds: auto
    search      training pictures against the index, many files at once
    apply       each file loses its near rows, or has them marked
    lists       per benchmark: which of its pictures the training data has (Overlap), which not (Clean), and all

The folder then holds thresholds.parquet and overlap/<task>/{overlap,clean,all}.parquet, which the dataset takes along.
"""

import functools
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.execution.batch import Batch
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, File, Output, PhaseResult, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.overlap.decontaminate_config import DecontaminateConfig
from pipeline.overlap.embedded import COLUMN
from pipeline.overlap.lookup import Limits
from pipeline.overlap.near_references import DESCRIPTORS, read_columns, search
from pipeline.overlap.overlap_lists import write_lists
from pipeline.overlap.references import References
from pipeline.overlap.thresholds import Wanted, calibrate

GROUP_ROWS = 100_000
"""Rows compared at once, at least: about 250 bytes each; every group reads the index once."""


def decontaminate(
    config: DecontaminateConfig,
    deduplicated: PhaseResult,
    references: str | None,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Compare every picture with the index in the folder `references` (none: no work)."""
    source = Files(deduplicated.folder, deduplicated.kept)
    index = References.load(references) if references else None
    near: list[tuple[str, str] | None] = [None] * len(source.parts)  # of each file: its search result's path, sha256
    extra: dict[str, Any] = {}
    if index is not None:
        if config.embeddings:
            _check_embeddings(source)
        limits, extra["thresholds"] = _limits(config, source, index, folder, executor, progress)
        found, near = _searched(source, index, limits, folder, executor, progress)
        paths = [(storage.join(folder, "search", record.files["references"].path), record.files["references"].sha256)
                 for record in found]  # fmt: skip
        extra["overlap"] = write_lists(index, paths, config.mode, folder, executor, progress)
    items = [
        WorkItem(f"apply-{number:05d}", [part.sha256, config.mode, result and result[1]],
                 (source.path(part), result and result[0]))
        for number, (part, result) in enumerate(zip(source.parts, near, strict=True))
    ]  # fmt: skip
    work = functools.partial(_apply, config.mode)
    records = run_items(storage.join(folder, "apply"), work, items, executor, progress, "evaluation pictures")
    applied = PhaseResult.of_records("decontaminate", folder, records, extra)
    result = PhaseResult(
        "decontaminate",
        folder,
        tuple(file.below("apply") for file in applied.kept),
        tuple(file.below("apply") for file in applied.dropped),
        applied.fates,
        applied.extra,
    )
    result.save()
    return result


def _limits(
    config: DecontaminateConfig, source: Files, index: References, folder: str, executor: Executor, progress: Progress
) -> tuple[dict[str, Limits], Any]:
    """The limits of every task, and what of them belongs into the result's id."""
    if config.thresholds == "fixed":
        cosine = config.cosine if config.embeddings else None
        fixed = Limits(config.radius, config.thumbnail_distance, cosine=cosine)
        return dict.fromkeys(index.tasks, fixed), [config.radius, config.thumbnail_distance, cosine]
    wanted = Wanted(config.search_radius, config.precision, config.calibration_distractors, config.embeddings)
    return calibrate(index, source, wanted, folder, executor, progress)


def _check_embeddings(source: Files) -> None:
    """Raises ConfigError where the training pictures have none."""
    if source.parts and COLUMN not in storage.read_schema(source.path(source.parts[0])).names:
        raise ConfigError(
            "curate.decontaminate.embeddings: the rows have no embeddings; let a scorer of curate.score keep them"
            " (store_embedding: true)"
        )


def _searched(
    source: Files, index: References, limits: dict[str, Limits], folder: str, executor: Executor, progress: Progress
) -> tuple[list[Record], list[tuple[str, str] | None]]:
    """The records of the search, and for each file of the source the path and checksum of its group's result."""
    groups: list[list[File]] = []
    for part in source.parts:
        if not groups or sum(file.rows for file in groups[-1]) >= GROUP_ROWS:
            groups.append([])
        groups[-1].append(part)
    bounds = {
        task: [limit.radius, str(limit.thumbnail_distance), str(limit.distance), limit.cosine]
        for task, limit in limits.items()
    }
    references = Files(index.index.folder, index.index.kept)
    paths = [references.path(part) for part in references.parts]
    items = [
        WorkItem(f"search-{number:05d}", [[file.sha256 for file in group], index.id, bounds],
                 [source.path(file) for file in group])
        for number, group in enumerate(groups)
    ]  # fmt: skip
    inside = storage.join(folder, "search")
    records = run_items(
        inside, functools.partial(_search, paths, limits), items, executor, progress, "evaluation pictures"
    )
    near: list[tuple[str, str] | None] = []
    for record, group in zip(records, groups, strict=True):
        file = record.files["rows"]
        near += [(storage.join(inside, file.path), file.sha256)] * len(group)
    return records, near


def _search(index_paths: list[str], limits: dict[str, Limits], paths: list[str]) -> Output:
    columns = [COLUMN] if any(limit.cosine is not None for limit in limits.values()) else []
    rows = pa.concat_tables([read_columns(path, ["uid", *DESCRIPTORS, *columns]) for path in paths])
    by_row, by_reference = search(rows, index_paths, limits)
    return Output({"rows": by_row, "references": by_reference}, {"pairs": Fate(rows.num_rows, rows.num_rows)})


def _apply(mode: str, argument: tuple[str, str | None]) -> Output:
    path, near = argument
    rows = storage.read_without_pictures(path)
    words = {row["uid"]: _evidence(row) for row in storage.read_table(near).to_pylist()} if near else {}
    found = [words.get(uid) for uid in rows.column("uid").to_pylist()]
    batch = Batch.of(rows)
    if mode == "mark":
        return Output.of_batch(rows.num_rows, batch.with_column("near_evaluation", found, pa.string()))
    return Output.of_batch(rows.num_rows, batch.drop(["near_evaluation" if word else None for word in found], found))


def _evidence(row: dict[str, Any]) -> str:
    form = "" if row["variant"] == "same" else f" ({row['variant']})"
    long = f", {row['bits256']} of 256" if row["bits256"] else ""
    cosine = "" if row["cosine"] is None else f", cosine {row['cosine']:.3f}"
    return (
        f"{row['task']} {row['key']}{form}: {row['bits']} of 64 hash bits{long},"
        f" thumbnail distance {row['thumbnail_distance']:.2f}{cosine}"
    )
