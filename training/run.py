"""One rank's whole training, with the record that every launcher leaves: folder/steps.jsonl, a line per step.

On resume the record is cut back to the checkpoint's step, so the file of a run that was killed ten times reads like that
of one that was not.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pipeline import storage
from training.config import TrainConfig
from training.saving.leaving import Preemption
from training.train import StepResult, _silent, train

RECORD = "steps.jsonl"

OnStep = Callable[[StepResult], None]


def run(
    config: TrainConfig,
    manifest_folder: str,
    folder: str,
    is_first: bool,
    on_step: OnStep | None = None,
    preemption: Preemption | None = None,
    say: Callable[[str], None] | None = None,
    is_measured: bool = False,
) -> None:
    """Run `train` to its end in this rank; the first one writes steps.jsonl, calls `on_step` with each result and `say` with
    what is to be known before. `is_measured` says that somebody measures snapshots beside the training.

    Raises what `train` raises.
    """
    record: StepRecord | None = None
    try:
        told = say if say is not None and is_first else _silent
        for result in train(config, manifest_folder, folder, True, preemption, say=told, is_measured=is_measured):
            if not is_first:
                continue
            record = record or StepRecord(folder, result.step - 1)
            record.write(result, durable=result.step % config.checkpoints.every_steps == 0)
            if on_step is not None:
                on_step(result)
    finally:
        if record is not None:
            record.close()


class StepRecord:
    """steps.jsonl open for writing after step `done`."""

    def __init__(self, folder: str, done: int) -> None:
        path = Path(folder) / RECORD
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= done]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(kept), "utf-8")
        os.replace(temporary, path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, result: StepResult, durable: bool) -> None:
        """Append a line; `durable` ones reach the disk before this returns. Raises DataError where the disk is full."""
        try:
            self._file.write(json.dumps(asdict(result)) + "\n")
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise storage.unwritable(self._file.name, error) from error

    def close(self) -> None:
        self._file.close()


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def read_steps(folder: str) -> list[StepResult]:
    """The record of a run so far, in order; empty where there is none."""
    return [StepResult(**json.loads(line)) for line in _whole_lines(Path(folder) / RECORD)]
