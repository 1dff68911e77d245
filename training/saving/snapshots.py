"""Snapshots: the weights as they are in the middle of a run, for whoever measures them while training goes on.

    folder/snapshots/<step>/    a Checkpoint that can be evaluated, not resumed; sealed by its checkpoint.json

Ranks only write it, which is a copy of the weights to the disk; the measuring is somebody else's process, and so is the
removal (orchestration/beside.py). Where there is nobody who does that, none is written. One that cannot be written is counted, and
the training goes on. Every other multiple of `watch.evaluate_every_steps` has one, however often a run was killed.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from training.config import TrainConfig
from training.engine.engine import Engine
from training.engine.ranks import Ranks
from training.saving import checkpoint as checkpoints
from training.saving import folder as folders
from training.saving.checkpoint import Checkpoint
from training.saving.meanings import Meanings
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = folders.SNAPSHOTS


class SnapshotFolder:
    """folder/snapshots of one run."""

    def __init__(
        self, folder: str, config: TrainConfig, spec: ModelSpec, manifest_id: str, ranks: Ranks, is_measured: bool
    ) -> None:
        self._folder = Path(folder) / FOLDER
        self._config, self._spec, self._manifest_id, self._ranks = config, spec, manifest_id, ranks
        self._every = config.watch.evaluate_every_steps if is_measured else 0
        self._failed = 0

    def measured(self) -> dict[str, float]:
        """For the record of a step, where there is something to say."""
        return {"failed_snapshots": float(self._failed)} if self._failed else {}

    def after_step(self, engine: Engine, meanings: Meanings, step: int) -> None:
        """Write one where it is due. All ranks call it; the first one writes."""
        if not self._every or step % self._every:
            return
        weights = engine.weights()
        target = self._folder / folders.name_of(step)
        if (
            not self._ranks.is_first or (target / checkpoints.NAME).exists()
        ):  # of before a crash, and perhaps being read
            return
        try:
            self._write(target, weights, meanings, step)
        except (OSError, UserError):  # no room, mostly
            self._failed += 1
            shutil.rmtree(target, ignore_errors=True)

    def _write(self, target: Path, weights: "Mapping[str, Tensor]", meanings: Meanings, step: int) -> None:
        target.mkdir(parents=True, exist_ok=True)
        checkpoints.write_model(str(target), weights, meanings)
        config, samples = self._config.identity(), step * self._config.global_batch_size
        files = checkpoints.checksums(str(target))
        ranks = self._ranks.world_size
        Checkpoint(str(target), self._spec, step, samples, self._manifest_id, config, ranks, files).save()
