"""What `openwit replay`, `export`, `import` and `sample` do; values for orchestration/show_checkpoints.py and `--json`."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestration import journal
from orchestration.step import read_record
from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import NAME as MANIFEST

PARTS = ("checkpoints", "checkpoint", "steps.jsonl")
"""What the folder of a training holds, some of it at least."""


def replay(run_or_folder: str, step: int, data: str | None, worst: int) -> Mapping[str, Any]:
    """Raises ConfigError for a step that was not made, DataError where checkpoints or data are gone."""
    folder = training_folder(run_or_folder)
    from training.watching.replay import as_json
    from training.watching.replay import replay as work

    return {"folder": folder, **as_json(work(folder, data or dataset_of(folder), step), worst)}


def export(checkpoint: str, folder: str, layout: str, average: bool) -> Mapping[str, Any]:
    """Raises ConfigError where that library has no such model, before anything is written."""
    from training.saving.conversion import export_model

    _must_be_new(folder)
    return export_model(checkpoint, folder, layout, average)


def import_(path: str, folder: str, tokenizer: str | None) -> Mapping[str, Any]:
    from training.saving.conversion import import_model

    _must_be_new(folder)
    return import_model(path, folder, tokenizer)


def sample(
    checkpoint: str,
    out: str,
    count: int | None,
    pictures: Sequence[str],
    rows: int | None,
    temperature: float,
    top_k: int,
    seed: int,
) -> Mapping[str, Any]:
    """Raises ConfigError where the model is no iGPT or has fewer rows or colours, DataError for a file that is no picture."""
    if rows is not None and not pictures:
        raise ConfigError(f"--rows {rows}: is of pictures to complete; name them with --complete")
    if not out.lower().endswith(".png"):
        raise ConfigError(f"--out {out}: a PNG is written; give a name that ends with .png")
    from training.sampling import completed_pictures, new_pictures, open_igpt, read_pictures

    model = open_igpt(checkpoint)
    size, colours = model.spec.size, model.spec.colours
    if rows is not None and rows > size:
        raise ConfigError(f"--rows {rows}: {model.spec.name} has pictures of {size} rows; give fewer")
    if top_k > colours:
        raise ConfigError(f"--top-k {top_k}: {model.spec.name} has {colours} colours; give fewer")
    given = size // 2 if rows is None else rows
    draws = (4 if pictures else 16) if count is None else count
    if pictures:
        sheet = completed_pictures(model, read_pictures(pictures, size), given, draws, temperature, top_k, seed)
    else:
        sheet = new_pictures(model, draws, temperature, top_k, seed)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    storage.write_bytes(out, file.getvalue())
    found = {"model": model.spec.name, "out": out, "pictures": max(1, len(pictures)) * draws, "seed": seed}
    return found | ({"rows_given": given} if pictures else {})


def _must_be_new(folder: str) -> None:
    if storage.list_names(folder):
        raise ConfigError(f"{folder}: exists and is not empty; name a new folder")


def training_folder(path: str) -> str:
    """The folder of a training: `path` itself, or the one training of a root or of a run in it."""
    path = path.rstrip("/") or "/"
    if any(os.path.exists(os.path.join(path, part)) for part in PARTS):
        return path
    if not os.path.isdir(path):
        raise DataError(f"{path}: no such folder; give the folder of a training or of a run")
    is_run = os.path.exists(os.path.join(path, journal.NAME))
    root = str(Path(path).resolve().parents[1]) if is_run else path
    found = [each for each in _below(root) if Path(each).name.startswith("train-") and _is_training(each)]
    if len(found) != 1:
        names = ", ".join(Path(each).name for each in found)
        way = f"it has {names}: give one of them" if found else "give the folder of a training"
        raise ConfigError(f"{path}: no single training is there; {way}")
    return found[0]


def _is_training(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, part)) for part in PARTS)


def dataset_of(folder: str) -> str:
    """The dataset that a training's checkpoints name, among its root's steps. Raises ConfigError where it is not there."""
    from training.saving.opening import open_model

    checkpoint = open_model(folder)
    config = getattr(checkpoint, "config", {})
    if (config.get("data") or {}).get("sources"):
        return ""
    wanted = getattr(checkpoint, "manifest_id", "")
    for place in _datasets(str(Path(folder).resolve().parent)):
        try:
            if storage.read_json(storage.join(place, MANIFEST)).get("id") == wanted:
                return place
        except (OSError, ValueError, AttributeError):
            continue
    raise ConfigError(f"{folder}: its dataset (id {wanted[:12]}) is not beside it; give it with --data")


def _datasets(root: str) -> Iterator[str]:
    for each in _below(root):
        if os.path.exists(os.path.join(each, MANIFEST)):
            yield each
        elif (record := read_record(each)) is not None and storage.exists(storage.join(record.folder, MANIFEST)):
            yield record.folder


def _below(root: str) -> list[str]:
    return sorted(entry.path for entry in os.scandir(root) if entry.is_dir())
