"""Gather: from the folders of finished steps to ReportData, and from there to report.html, report.json and pictures: those of the
whole run in pictures/, those of one benchmark alone in benchmarks/NAME/."""

import itertools
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from orchestration.inspection import spread
from orchestration.narrator import code_commit, folder_of_task, reproduce_command
from orchestration.planted import planted_for, recovered_of
from orchestration.recipe import Recipe
from orchestration.report import build_html, build_json, build_pictures, build_task_pictures
from orchestration.report_data import Balance, DatasetFacts, DroppedSample, KeptSample, ReportData, StepFact
from orchestration.report_view import MOST_KEPT, MOST_PER_REASON
from orchestration.step import StepRecord
from orchestration.training_rows import flattened_row, read_evaluations
from pipeline import storage
from pipeline.datasets.shards import read_image, read_index
from pipeline.execution.ledger import Fate, File, PhaseResult
from pipeline.manifest import NAME as MANIFEST
from pipeline.manifest import Manifest
from training.watching.record import whole_rows

PACKAGES = ("ray", "torch", "deepspeed", "mlflow", "img2dataset", "pyarrow", "pandas")
SIDES = (32, 64, 128, 256, 512, 1024)
FILES_FOR_SAMPLES = 64
"""Samples of dropped pairs are looked for in so many files, spread evenly."""


def write_report(
    recipe: Recipe, records: Mapping[str, StepRecord], run_id: str, peak_memory_bytes: int, folder: str
) -> str:
    """Write the report of finished steps into `folder`; returns the hash of its results."""
    data = replace(gather(recipe, records, run_id), peak_memory_bytes=peak_memory_bytes or None)
    facts = build_json(data)
    for name, picture in build_pictures(data).items():
        storage.write_bytes(storage.join(folder, "pictures", name), picture)
    for task, pictures in build_task_pictures(data).items():
        for name, picture in pictures.items():
            storage.write_bytes(storage.join(folder_of_task(folder, task), name), picture)
    storage.write_bytes(storage.join(folder, "report.html"), build_html(data).encode())
    storage.write_json(storage.join(folder, "report.json"), facts)
    return storage.sha256(storage.canonical_json(facts["results"]))


def gather(recipe: Recipe, records: Mapping[str, StepRecord], run_id: str) -> ReportData:
    """Everything the report tells, read from what the steps left."""
    phases = [PhaseResult.load(r.path) for r in records.values() if storage.exists(storage.join(r.path, "phase.json"))]
    dataset = records.get("pack") or records.get("data")
    has_manifest = dataset is not None and storage.exists(storage.join(dataset.folder, MANIFEST))
    manifest = Manifest.load(dataset.folder) if dataset and has_manifest else None
    planted = (planted_for(dataset.path) if dataset else None) or {}
    return ReportData(
        recipe=recipe.name,
        run_id=run_id,
        reproduce=reproduce_command(),
        created_from={name: records[name].output_id for name in ("web", "pack", "data", "train") if name in records},
        steps=[_step(record) for record in records.values()],
        lineage={record.name: list(record.inputs) for record in records.values()},
        fates={phase.name: dict(phase.fates) for phase in phases} or _given_fates(manifest),
        planted={phase: units for phase, units in planted.items() if phase != "recovered"},
        planted_recovered=planted.get("recovered", {}),
        recovered=recovered_of(dataset.folder, manifest, planted) if dataset and manifest else {},
        balance=_balance(records.get("select")),
        dataset=_dataset(dataset.folder, manifest) if dataset and manifest else None,
        data_card=_data_card(dataset),
        kept=_kept(dataset.folder, manifest) if dataset and manifest else (),
        dropped=_dropped(phases),
        training=_training(records.get("train")),
        while_training=_while_training(records.get("train")),
        evaluation=_evaluation(records.get("evaluate")),
        image_gflops=_image_gflops(records),
        environment=_environment(),
        total_seconds=sum(record.seconds for record in records.values()),
    )


def _image_gflops(records: Mapping[str, StepRecord]) -> float | None:
    """Of the evaluated model, None where it does not tell its size (a function of the user's)."""
    if "evaluate" not in records:
        return None
    from evaluation.models.foreign import is_own, open_checkpoint

    record = records.get("train") or records.get("checkpoint")
    place = (
        "" if record is None else storage.join(record.path, "checkpoint") if record.name == "train" else record.folder
    )
    if not place or is_own(place):
        return None
    flops = getattr(open_checkpoint(place).spec, "image_flops", None)
    return round(flops() / 1e9, 4) if flops else None


def _step(record: StepRecord) -> StepFact:
    facts = record.facts
    headlines = [
        (f"{facts[key]:,} {words}")
        for key, words in (
            ("pictures", "pictures"),
            ("pairs_kept", "pairs"),
            ("rows", "pairs"),
            ("step", "steps"),
            ("scores", "scores"),
            ("tasks", "tasks"),
        )
        if key in facts
    ]
    return StepFact(record.name, record.output_id, record.seconds, "done", record.config, "".join(headlines[:1]))


def _given_fates(manifest: Manifest | None) -> dict[str, dict[str, Fate]]:
    """A dataset that came finished brings its own counts."""
    counts = manifest.counts if manifest else {}
    return {phase: {unit: Fate(**fate) for unit, fate in units.items()} for phase, units in counts.items()}


def _balance(record: StepRecord | None) -> Balance | None:
    if record is None:
        return None
    curve = storage.read_table(storage.join(record.path, "queries.parquet"))
    limit = int(PhaseResult.load(record.path).extra["t"])
    return Balance(curve.column("before").to_pylist(), curve.column("after").to_pylist(), limit)


def _dataset(folder: str, manifest: Manifest) -> DatasetFacts:
    sides: list[int] = []
    for shard in spread(manifest.shards, FILES_FOR_SAMPLES):
        table = read_index(folder, shard, ["original_width", "original_height"])
        both = np.minimum(table.column(0).fill_null(0).to_numpy(), table.column(1).fill_null(0).to_numpy())
        sides += both[both > 0].tolist()
    edges = [0, *SIDES, 1 << 31]
    labels = [
        f"under {SIDES[0]} px",
        *(f"{a}-{b - 1} px" for a, b in itertools.pairwise(SIDES)),
        f"{SIDES[-1]} px +",
    ]
    counts = np.histogram(sides, bins=edges)[0].tolist()
    return DatasetFacts(
        manifest.id, manifest.rows, manifest.bytes, len(manifest.shards), dict(zip(labels, counts, strict=True))
    )


def _data_card(dataset: StepRecord | None) -> str:
    if dataset is None or not storage.exists(storage.join(dataset.folder, "data_card.html")):
        return ""
    return f"{dataset.folder.rstrip('/').rpartition('/')[2]}/data_card.html"


def _kept(folder: str, manifest: Manifest) -> list[KeptSample]:
    found = []
    shards = spread(manifest.shards, 8)
    for shard in shards:
        rows = read_index(folder, shard, ["caption", "image_offset", "image_bytes"]).to_pylist()
        for row in spread(rows, -(-MOST_KEPT // len(shards))):
            image = read_image(storage.join(folder, shard.tar), row["image_offset"], row["image_bytes"])
            found.append(KeptSample(image, row["caption"]))
    return found[:MOST_KEPT]


def _dropped(phases: Sequence[PhaseResult]) -> dict[str, list[DroppedSample]]:
    """Some pairs per drop reason, those with a picture first."""
    found: dict[str, list[DroppedSample]] = {}
    for phase in phases:
        for file in spread([file for file in phase.dropped if file.rows], FILES_FOR_SAMPLES):
            for row in _rows(phase, file):
                sample = DroppedSample(row["thumbnail"], row["text"] or "", row["url"] or "", row["evidence"] or "")
                found.setdefault(row["reason"], []).append(sample)
                found[row["reason"]] = sorted(found[row["reason"]], key=lambda s: s.image is None)[:MOST_PER_REASON]
    return found


def _rows(phase: PhaseResult, file: File) -> list[dict[str, Any]]:
    return list(storage.read_table(storage.join(phase.folder, file.path)).to_pylist())


def _training(record: StepRecord | None) -> list[dict[str, float]]:
    if record is None:
        return []
    rows, _ = whole_rows(storage.read_bytes(storage.join(record.path, "steps.jsonl")))
    return [flattened_row(row) for _, row in rows]


def _while_training(record: StepRecord | None) -> list[dict[str, float]]:
    """Scores of the weights in the middle of the run: a row per snapshot, with its step."""
    rows = read_evaluations(record.path) if record else []
    return [{"step": row["step"], **row["scores"]} for row in rows if "scores" in row]


def _evaluation(record: StepRecord | None) -> Any:
    if record is None:
        return None
    from evaluation.report import Report

    return Report.load(record.path)


def _environment() -> dict[str, str]:
    """Versions, machine and commit; no host name and no path."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "commit": code_commit(),
    }
