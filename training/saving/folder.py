"""folder/checkpoints of a run: which are whole, which is the newest, which are kept. One process works on it at a time.

    checkpoints/000000500/            sealed: its checkpoint.json is there, with the checksum of every other file
    checkpoints/000000600.partial/    being written, or left by a kill: worth nothing

A folder gets its name when it is sealed, last of all, so a kill at any time leaves the checkpoints before it as they were.
"""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import storage
from pipeline.errors import DataError
from training.saving.checkpoint import NAME, Checkpoint
from training.saving.checkpoints_config import CheckpointsConfig

PROGRESS = "progress.json"
STARTED_FROM = "started_from"
"""In it: the id of the model that the run began with."""
PARTIAL = ".partial"
SNAPSHOTS = "snapshots"
"""In the run's folder: a folder by step while its weights are waiting to be measured, or are (training/saving/snapshots.py)."""
EVALUATIONS = "evaluations.jsonl"
"""In the run's folder: a line per evaluated step, {"step": 500, "scores": {"name": 0.5}} (orchestration/beside.py)."""


def name_of(step: int) -> str:
    """Sorts by step."""
    return f"{step:09d}"


def sealed(folder: Path) -> list[Path]:
    """Oldest first; whether their files are undamaged is not looked at."""
    if not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if not each.suffix and (each / NAME).exists())


def open_partial(folder: Path, step: int) -> Path:
    """An empty folder for a checkpoint that is to come; what a killed run left half-written goes. Raises OSError."""
    for left in folder.glob(f"*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    partial = folder / (name_of(step) + PARTIAL)
    partial.mkdir(parents=True)
    return partial


def seal(partial: Path, checkpoint: Checkpoint) -> Path:
    """Write checkpoint.json, give the folder its name. Raises DataError or OSError."""
    checkpoint.save()
    target = partial.with_suffix("")
    remove(target)
    os.replace(partial, target)
    sync_folder(target.parent)
    return target


def remove(folder: Path) -> None:
    """Its seal first, so that a half-removed one is no checkpoint. Of a link, what it leads to stays: it is another run's."""
    if folder.is_symlink():
        folder.unlink()
        return
    (folder / NAME).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Names in a folder survive a power failure only after this."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def metrics_of(folder: Path) -> Mapping[str, float]:
    """The means over the steps before a checkpoint; empty where it has none."""
    try:
        found = storage.read_json(str(folder / PROGRESS))["metrics"]
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def started_from(folder: Path) -> str | None:
    """Id of the model that a checkpoint's run began with; None where it has none, or does not say."""
    try:
        found = storage.read_json(str(folder / PROGRESS)).get(STARTED_FROM)
        return None if found is None else str(found)
    except (OSError, ValueError, AttributeError):
        return None


def surplus(folders: Sequence[Path], config: CheckpointsConfig, step: int | None = None) -> list[Path]:
    """Of sealed folders, oldest first, those that are neither among the newest nor among the best nor about to be measured. With
    `step`, the one that was just written: later ones go too, for this run went on from before them."""
    later = [folder for folder in folders if step is not None and folder.name > name_of(step)]
    return later + _surplus([folder for folder in folders if folder not in later], config)


def _surplus(folders: Sequence[Path], config: CheckpointsConfig) -> list[Path]:
    older = list(folders)[: -config.keep]
    sign = 1 if config.is_lowest_best else -1
    scored = [(sign * value, folder) for folder in folders if (value := _score(folder, config)) is not None]
    best = [folder for _, folder in sorted(scored)[: config.keep_best]]
    measured = {folder for _, folder in scored}
    open_ones = [each for each in older if config.keep_best and each not in measured and _is_being_measured(each)]
    return [folder for folder in older if folder not in (*best, *open_ones)]


def _is_being_measured(folder: Path) -> bool:
    """Whether a score of its step may still come; there are two such steps at most (orchestration/beside.py)."""
    return (folder.parent.parent / SNAPSHOTS / folder.name / NAME).exists()


def _score(folder: Path, config: CheckpointsConfig) -> float | None:
    """Of a checkpoint's own metrics, or of the evaluation of its step."""
    value = metrics_of(folder).get(config.best_metric)
    if value is None:
        value = _evaluations(folder.parent.parent / EVALUATIONS, config.best_metric).get(int(folder.name))
    return None if value is None or math.isnan(value) else value


def _evaluations(path: Path, metric: str) -> Mapping[int, float]:
    """Values by step, as whoever evaluates beside the training wrote them; a half-written last line is passed over."""
    found: dict[int, float] = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            value = json.loads(line)
            found[int(value["step"])] = float(value["scores"][metric])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def require_intact(folder: Path, names: Sequence[str], checksums: Mapping[str, str]) -> None:
    """Raises DataError naming the first of `names` that is missing or changed."""
    for name in names:
        path = folder / name
        if not path.exists() or storage.sha256_file(str(path)) != checksums[name]:
            raise DataError(f"{path}: missing or changed since it was written")
