"""Snapshots: the weights as they are in the middle of a run, for whoever measures them while training goes on.

    folder/snapshots/<step>/    a Checkpoint that can be evaluated, not resumed; sealed by its checkpoint.json

Ranks only write it, which is a copy of the weights to the disk; the measuring is somebody else's process, and so is the
removal (orchestration/beside.py). Every multiple of `watch.evaluate_every_steps` has one, however often a run was killed.
"""

from pathlib import Path

from training import checkpoint as checkpoints
from training.config import TrainConfig
from training.engine import Engine
from training.ranks import Ranks
from training.resume import describe, name_of
from training.specs.base import ModelSpec
from training.tokenizer import Tokenizer

FOLDER = "snapshots"


class Snapshots:
    """folder/snapshots of one run."""

    def __init__(self, folder: str, config: TrainConfig, spec: ModelSpec, manifest_id: str, ranks: Ranks) -> None:
        self._folder = Path(folder) / FOLDER
        self._config, self._spec, self._manifest_id, self._ranks = config, spec, manifest_id, ranks

    def due(self, step: int) -> bool:
        every = self._config.watch.evaluate_every_steps
        return every > 0 and step % every == 0

    def save(self, engine: Engine, tokenizer: Tokenizer, step: int) -> None:
        """All ranks call it; the first one writes."""
        weights = engine.weights()
        if not self._ranks.is_first:
            return
        target = self._folder / name_of(step)
        if (target / checkpoints.NAME).exists():
            return  # of the run before a crash, and perhaps being read
        target.mkdir(parents=True, exist_ok=True)
        checkpoints.write_model(str(target), weights, tokenizer)
        ranks = self._ranks.world_size
        describe(str(target), self._spec, step, self._manifest_id, self._config, ranks).save()
