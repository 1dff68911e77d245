"""Evaluation while training goes on: each snapshot of the weights is measured in a process beside the ranks.

    <folder>/snapshots/<step>/    what the ranks leave (training/saving/snapshots.py); removed when it was measured
    <folder>/evaluations.jsonl    a line per snapshot: step, scores by name, or the error that kept it from being measured

One at a time, oldest first, so every due step has its line whatever the speed. A failure here is a line, never the end of
the training.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from orchestration.recipe import TEXT_FAMILIES
from orchestration.training_rows import EVALUATIONS, read_evaluations
from pipeline.errors import UserError
from training.config import TrainConfig
from training.saving.checkpoint import NAME
from training.saving.snapshots import FOLDER
from training.spec import get_spec

Scores = dict[str, float]


class Call(Protocol):
    def done(self) -> bool: ...
    def result(self) -> Scores: ...


class Beside:
    """The evaluations of one training's folder. `start(config, snapshot)` begins one; by default in a Ray worker."""

    def __init__(
        self, config: TrainConfig, folder: str, start: Callable[[TrainConfig, str], Call] | None = None
    ) -> None:
        self._config, self._folder = config, Path(folder)
        self._start = start or _on_ray
        self._told = 0
        self._running: tuple[Path, Call] | None = None

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """What was measured since the last call; begins what is due. Never waits."""
        if not self._config.watch.evaluate_every_steps:
            return
        self._take()
        lines = read_evaluations(str(self._folder))
        yield from lines[self._told :]
        self._told = len(lines)

    def rest(self) -> Iterator[dict[str, Any]]:
        """Waits for the snapshots that are left, when training is over."""
        yield from self.new_lines()
        while self._running is not None:
            self._take(wait=True)
            yield from self.new_lines()
        shutil.rmtree(self._folder / FOLDER, ignore_errors=True)

    def _take(self, wait: bool = False) -> None:
        if self._running is not None:
            snapshot, call = self._running
            if not wait and not call.done():
                return
            self._write(snapshot, call)
            self._running = None
        due = self._due()
        if due is not None:
            self._running = (due, self._start(self._config, str(due)))

    def _due(self) -> Path | None:
        """The oldest sealed snapshot that has no line; those that have one are of a run before a crash."""
        done = {line["step"] for line in read_evaluations(str(self._folder))}
        for seal in sorted((self._folder / FOLDER).glob(f"*/{NAME}")):
            if int(seal.parent.name) not in done:
                return seal.parent
            shutil.rmtree(seal.parent, ignore_errors=True)
        return None

    def _write(self, snapshot: Path, call: Call) -> None:
        line: dict[str, Any] = {"step": int(snapshot.name)}
        try:
            line["scores"] = call.result()
        except UserError as error:
            line["error"] = str(error)
        except Exception as error:  # of the evaluation's own; training does not end for it
            line["error"] = f"{type(error).__name__}: {error}".split("\n")[0][:300]
        with (self._folder / EVALUATIONS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        shutil.rmtree(snapshot, ignore_errors=True)


def measure(config: dict[str, Any], snapshot: str) -> Scores:
    """The headline scores of a snapshot by name; runs in a process of its own, which gives way to the ranks."""
    from evaluation.config import EvaluateConfig
    from evaluation.report import headline
    from evaluation.run import evaluate

    os.setpriority(os.PRIO_PROCESS, 0, 10)  # set, not added to: Ray keeps its workers
    report = evaluate(EvaluateConfig.model_validate(config), snapshot, os.path.join(snapshot, "features"))
    return {score.name: score.value for score in headline(report)}


def _on_ray(config: TrainConfig, snapshot: str) -> Call:
    from orchestration.cluster import Apart

    watch = config.watch
    can_read = get_spec(config.model).family in TEXT_FAMILIES
    protocols = watch.evaluate_protocols if can_read else ("linear_probe",)
    wanted = {"tasks": watch.evaluate_tasks, "protocols": protocols, "threads": 1}
    return Apart(measure, wanted, snapshot, gpus=watch.evaluate_gpus)
