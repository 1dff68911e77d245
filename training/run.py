"""One rank's whole training, with the record that every launcher leaves: folder/steps.jsonl, a line per step.

On resume the record is cut back to the checkpoint's step, so the file of a run that was killed ten times reads like that
of one that was not.
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pipeline import storage
from training.config import TrainConfig
from training.saving.leaving import Preemption
from training.train import StepResult, _silent, train
from training.watching.record import whole_rows

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
            if record is None:
                record = StepRecord(folder, result.step - 1)
                if record.damaged:
                    told(f"{record.path}: {record.damaged:,} lines were damaged and are left out")
            record.write(result, durable=result.step % config.checkpoints.every_steps == 0)
            if on_step is not None:
                on_step(result)
    finally:
        if record is not None:
            record.close()


class StepRecord:
    """steps.jsonl open for writing after step `done`; `damaged` lines of it are left out."""

    def __init__(self, folder: str, done: int) -> None:
        self.path = Path(folder) / RECORD
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows, self.damaged = whole_rows(self.path.read_bytes() if self.path.exists() else b"")
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(line for line, row in rows if row["step"] <= done))
        os.replace(temporary, self.path)
        self._file = self.path.open("a", encoding="utf-8")

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


def read_steps(folder: str) -> list[StepResult]:
    """The record of a run so far, in order; empty where there is none."""
    path = Path(folder) / RECORD
    rows, _ = whole_rows(path.read_bytes() if path.exists() else b"")
    found = []
    for _, row in rows:
        with contextlib.suppress(TypeError):  # the name of a field was damaged
            found.append(StepResult(**row))
    return found
