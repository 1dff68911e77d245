"""Resumable checkpoints while a run goes on: folder/checkpoints/<step>/, the newest few.

A resumed run takes the newest whose files all have their recorded checksum; a damaged one is passed over for the one
before it. Only then are DeepSpeed's files (pickles) opened, and only those of this very run and dataset.
The folder must be one that all ranks see: a local disk on one machine, a shared file system on several.
"""

import shutil
from pathlib import Path

from pipeline.errors import ConfigError, DataError
from training.checkpoint import NAME, Checkpoint, checksums, write_model
from training.config import TrainConfig
from training.engine import Engine
from training.ranks import Ranks
from training.specs.base import ModelSpec
from training.tokenizer import Tokenizer


class ResumeFolder:
    """folder/checkpoints of one run."""

    def __init__(self, folder: str, config: TrainConfig, spec: ModelSpec, manifest_id: str, ranks: Ranks) -> None:
        self._folder = Path(folder) / "checkpoints"
        self._config = config
        self._spec = spec
        self._manifest_id = manifest_id
        self._ranks = ranks

    def save(self, engine: Engine, tokenizer: Tokenizer, step: int) -> None:
        """All ranks write their part; rank 0 seals it and removes what is too old."""
        target = self._folder / name_of(step)
        if self._ranks.is_first:
            shutil.rmtree(target, ignore_errors=True)  # what a killed run left half-written
            target.mkdir(parents=True)
        self._ranks.wait_for_all()
        try:
            engine.save(str(self._folder), target.name)
        except OSError as error:
            raise DataError(
                f"{target}: cannot be written ({error.strerror or error}); the checkpoint before it is intact:"
                " free space and run again"
            ) from error
        weights = engine.weights()
        self._ranks.wait_for_all()
        if self._ranks.is_first:
            write_model(str(target), weights, tokenizer)
            self._describe(target, step).save()
            self._remove_old()
        self._ranks.wait_for_all()

    def _describe(self, target: Path, step: int) -> Checkpoint:
        return describe(str(target), self._spec, step, self._manifest_id, self._config, self._ranks.world_size)

    def _remove_old(self) -> None:
        sealed = [folder for folder in self._folder.iterdir() if (folder / NAME).exists()]
        for folder in sorted(sealed)[: -self._config.checkpoints.keep]:
            (folder / NAME).unlink()  # first, so that a half-removed one is no checkpoint
            shutil.rmtree(folder)

    def newest(self) -> Checkpoint | None:
        """The newest undamaged checkpoint of this run, the same on every rank; None where there is none.

        Raises ConfigError when it belongs to another config, dataset or number of ranks.
        """
        found = self._ranks.say(self._newest_name() if self._ranks.is_first else None)
        if not found:
            return None
        checkpoint = Checkpoint.load(str(self._folder / found))
        self._must_be_ours(checkpoint)
        return checkpoint

    def _newest_name(self) -> str | None:
        if not self._folder.is_dir():
            return None
        for folder in sorted((entry for entry in self._folder.iterdir() if entry.is_dir()), reverse=True):
            try:
                Checkpoint.load(str(folder))
            except (DataError, ValueError, KeyError, OSError):
                continue  # half-written or damaged: the one before it serves
            return folder.name
        return None

    def _must_be_ours(self, checkpoint: Checkpoint) -> None:
        config, ranks = self._config.identity(), self._ranks.world_size
        if checkpoint.ranks != ranks:
            raise ConfigError(
                f"{checkpoint.folder} was written by {checkpoint.ranks} ranks and this run has {ranks};"
                f" start {checkpoint.ranks} or choose another folder"
            )
        if checkpoint.manifest_id != self._manifest_id:
            raise ConfigError(f"{checkpoint.folder} belongs to another dataset; choose another folder")
        for key, value in config.items():
            if checkpoint.config.get(key) != value:
                raise ConfigError(
                    f"{checkpoint.folder} was trained with {key} {checkpoint.config.get(key)} and this run has {value};"
                    " choose another folder"
                )


def name_of(step: int) -> str:
    """Sorts by step."""
    return f"{step:09d}"


def describe(folder: str, spec: ModelSpec, step: int, manifest_id: str, config: TrainConfig, ranks: int) -> Checkpoint:
    """The Checkpoint of the files that lie in `folder`, not yet sealed by its `save`."""
    return Checkpoint(
        folder,
        spec,
        step,
        step * config.global_batch_size,
        manifest_id,
        config.identity(),
        ranks,
        checksums(folder),
    )
