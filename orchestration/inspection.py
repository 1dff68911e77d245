"""`openwit inspect`: what a folder that a run wrote holds, found out from the files in it and nothing else.

A dataset has manifest.json, a curation step phase.json, a training step checkpoint.json, an evaluation report.json, a
run journal.jsonl; a root holds one folder per step. Where the demo web's planted.json is at hand, what was planted is
set beside what was counted.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from orchestration import journal, show
from orchestration.contact_sheet import contact_sheet
from orchestration.planted import planted_equals_counted, planted_for, recovered_of
from orchestration.step import read_record
from pipeline import storage
from pipeline.datasets.shards import read_image, read_index
from pipeline.errors import DataError
from pipeline.execution.ledger import PhaseResult
from pipeline.manifest import Manifest

ORDER = ("web", "references", "crawl", "select", "fetch", "score", "deduplicate", "decontaminate", "pack", "data", "train",
         "checkpoint", "evaluate", "report")  # fmt: skip
"""In which a root's steps are told."""

SHEET_PICTURES = 64
MEASURED_SHARDS = 32
"""Sizes and texts are measured on so many shards, spread evenly; counts come from the manifest and are of all."""


@dataclass(frozen=True)
class Inspection:
    """Everything found in one folder. `planted_equal` is None where nothing was planted."""

    kind: str
    path: str
    facts: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    planted: Mapping[str, Any] = field(default_factory=dict)
    recovered: Mapping[str, int] = field(default_factory=dict)
    planted_equal: bool | None = None
    scores: Sequence[Mapping[str, Any]] = ()
    parts: Sequence["Inspection"] = ()
    contact_sheet: str | None = None


def place_in_chain(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def inspect(path: str, sheet: str | None = None) -> Inspection:
    """Look at `path`; a dataset's contact sheet is written to `sheet`, or to <root>/inspect/ beside the dataset.

    Raises DataError when the folder holds nothing that a run writes.
    """
    path = os.path.abspath(path) if storage.is_local(path) and "://" not in path else path.rstrip("/")
    if not storage.exists(path):
        raise DataError(f"{path}: no such folder; give a dataset, step or run folder below --root")
    found = _inspect(path, sheet, pictures=True)
    if found is None:
        raise DataError(
            f"{path}: holds no finished dataset, step or run (no manifest.json, phase.json, checkpoint.json,"
            " report.json or journal.jsonl); give a folder below --root"
        )
    return found


def _inspect(path: str, sheet: str | None, pictures: bool) -> Inspection | None:
    names = storage.list_names(path)
    record = read_record(path) if "step.json" in names else None
    found = _by_files(path, names, sheet, pictures)
    if record is not None:
        told = {
            "step": record.name,
            "seconds": record.seconds,
            "id": record.output_id,
            "made_from": dict(record.inputs),
        }
        found = found or Inspection("step", path, record.facts)
        return replace(found, facts={**told, **found.facts})
    if found is None:
        below = [storage.join(path, name) for name in names if not name.startswith(".")]
        steps = [step for step in below if storage.exists(storage.join(step, "step.json"))]
        parts = [part for step in steps for part in [_inspect(step, None, pictures=False)] if part is not None]
        parts.sort(key=lambda part: place_in_chain(part.facts["step"]))
        return Inspection("root", path, {"steps": len(parts)}, parts=parts) if parts else None
    return found


def _by_files(path: str, names: Sequence[str], sheet: str | None, pictures: bool) -> Inspection | None:
    if "manifest.json" in names:
        return _dataset(path, sheet, pictures)
    if "phase.json" in names:
        return _phase(path)
    if "checkpoint.json" in names:
        return _checkpoint(path)
    if "checkpoint" in names and storage.exists(storage.join(path, "checkpoint", "checkpoint.json")):
        return _checkpoint(storage.join(path, "checkpoint"))
    if "report.html" in names:
        return Inspection("report", path, {"page": storage.join(path, "report.html")})
    if "report.json" in names:
        return _scores(path)
    return _run(path) if journal.NAME in names else None


def _dataset(path: str, sheet: str | None, pictures: bool) -> Inspection:
    manifest = Manifest.load(path)
    manifest.require_files(path)
    facts: dict[str, Any] = {
        "id": manifest.id,
        "rows": manifest.rows,
        "shards": len(manifest.shards),
        "bytes": manifest.bytes,
        "code_version": manifest.code_version,
        "parents": list(manifest.parents),
    }
    planted = planted_for(path) or {}
    counts = {name: manifest.counts[name] for name in sorted(manifest.counts, key=place_in_chain)}
    recovered: Mapping[str, int] = {}
    target = None
    if storage.exists(storage.join(path, "data_card.html")):
        facts["data_card"] = storage.join(path, "data_card.html")
    if pictures and manifest.rows:
        measured = spread([shard for shard in manifest.shards if shard.rows], MEASURED_SHARDS)
        columns = ["caption", "original_width", "original_height", "repairs", "image_offset", "image_bytes"]
        tables = [read_index(path, shard, columns) for shard in measured]
        facts |= _sizes(pa.concat_tables(tables))
        target = sheet or storage.join(path.rpartition("/")[0] or ".", "inspect", f"{path.rpartition('/')[2]}.png")
        tars = [storage.join(path, shard.tar) for shard in measured]
        storage.write_bytes(target, _sheet(manifest, tars, tables))
    if planted:
        recovered = recovered_of(path, manifest, planted)
    equal = planted_equals_counted(planted, counts, recovered) if planted else None
    return Inspection("dataset", path, facts, counts, planted, recovered, equal, contact_sheet=target)


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the items, evenly spaced, first and last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def _sizes(index: pa.Table) -> dict[str, Any]:
    # Shards of others need not say how large their pictures are.
    sides = [index.column(name).fill_null(0).to_numpy() for name in ("original_width", "original_height")]
    shorter = np.minimum(*sides)[np.minimum(*sides) > 0]
    characters = np.array([len(text or "") for text in index.column("caption").to_pylist()])
    measured = {"measured_rows": index.num_rows}
    for name, values in (("shorter_side_pixels", shorter), ("text_characters", characters)):
        if not len(values):
            continue
        low, middle, high = (int(value) for value in np.percentile(values, (5, 50, 95)))
        measured |= {f"{name}_p5": low, f"{name}_median": middle, f"{name}_p95": high}
    return measured


def _sheet(manifest: Manifest, tars: Sequence[str], tables: Sequence[pa.Table]) -> bytes:
    per_shard = max(1, SHEET_PICTURES // len(tables))
    items: list[tuple[bytes | None, str]] = []
    for tar, table in zip(tars, tables, strict=True):
        for place in spread(range(table.num_rows), per_shard):
            row = table.slice(place, 1).to_pylist()[0]
            items.append((read_image(tar, row["image_offset"], row["image_bytes"]), row["caption"]))
    return contact_sheet(items, title=f"{manifest.rows:,} pairs, dataset {manifest.id[:12]}")


def _phase(path: str) -> Inspection:
    phase = PhaseResult.load(path)
    facts = {
        "phase": phase.name,
        "id": phase.id,
        "kept_rows": sum(file.rows for file in phase.kept),
        "dropped_rows": sum(file.rows for file in phase.dropped),
        "bytes": sum(file.bytes for file in (*phase.kept, *phase.dropped)),
        **phase.telemetry,
    }
    return Inspection("phase", path, facts, {phase.name: show.plain(phase.fates)})


def _checkpoint(path: str) -> Inspection:
    value = storage.read_json(storage.join(path, "checkpoint.json"))
    facts = {
        "id": value["id"],
        "model": value["spec"]["name"],
        "training_steps": value["step"],
        "samples_seen": value["samples_seen"],
        "manifest_id": value["manifest_id"],
        "bytes": sum(storage.size(storage.join(path, name)) for name in (*value["files"], "checkpoint.json")),
    }
    return Inspection("checkpoint", path, facts)


def _scores(path: str) -> Inspection:
    value = storage.read_json(storage.join(path, "report.json"))
    facts = {key: item for key, item in value.items() if isinstance(item, str | int | float)}
    return Inspection("scores", path, facts, scores=value.get("scores", ()))


def _run(path: str) -> Inspection:
    file = Path(path) / journal.NAME
    kinds = Counter(event.kind for event in journal.read(file))
    last = journal.last_event(file)
    facts: dict[str, Any] = {"events": sum(kinds.values()), "last": last.kind if last else "none"}
    facts |= {str(kind): number for kind, number in sorted(kinds.items())}
    return Inspection("run", path, facts)
