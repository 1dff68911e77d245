"""Evaluation while training goes on: each snapshot of the weights is measured in a process beside the ranks.

    <folder>/snapshots/<step>/    what the ranks leave (training/saving/snapshots.py); removed when it was measured
    <folder>/evaluations.jsonl    a line per snapshot: step, scores by name, or the error that kept it from being measured

One at a time. Where measuring is slower than training the newest waits and those before it are passed over, each with a line that
says so: the disk holds two snapshots at most, the end of the training waits for two evaluations at most, and the last snapshot is
always measured. A failure here is a line, never the end of the training.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from orchestration.recipe import wanted_beside
from orchestration.training_rows import EVALUATIONS, read_evaluations
from pipeline.errors import DataError, UserError
from training.config import TrainConfig
from training.saving.checkpoint import NAME
from training.saving.snapshots import FOLDER

Scores = dict[str, float]


class Call(Protocol):
    def done(self) -> bool: ...
    def result(self) -> Scores: ...


class Beside:
    """The evaluations of one training's folder. `start(config, snapshot)` begins one; by default in a Ray worker, which finds
    benchmarks below `datasets`."""

    def __init__(
        self,
        config: TrainConfig,
        folder: str,
        start: Callable[[TrainConfig, str], Call] | None = None,
        datasets: str | None = None,
    ) -> None:
        self._config, self._folder = config, Path(folder)
        self._start = start or functools.partial(_on_ray, datasets)
        self._told = 0
        self._running: tuple[Path, Call] | None = None
        self._passed_over: list[dict[str, Any]] = []

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """What was measured since the last call; begins what is due. Never waits."""
        if not self._config.watch.evaluate_every_steps:
            return
        self._take()
        self._pass_over()
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
        due = self._pass_over()
        if due is not None:
            self._running = (due, self._start(self._config, str(due)))

    def _pass_over(self) -> Path | None:
        """The newest sealed snapshot that waits; those before it are removed, and those that have a line (of a run before a
        crash). Their lines follow that of the evaluation that kept them waiting."""
        running = self._running[0] if self._running else None
        seals = sorted((self._folder / FOLDER).glob(f"*/{NAME}"))
        done = {line["step"] for line in read_evaluations(str(self._folder))} if seals else set()
        waiting = [seal.parent for seal in seals if seal.parent != running]
        due = [snapshot for snapshot in waiting if int(snapshot.name) not in done]
        for snapshot in waiting:
            if snapshot in due[:-1]:
                newest = int(due[-1].name)
                why = f"passed over for that of step {newest:,}: measuring takes longer than the steps between"
                self._passed_over.append({"step": int(snapshot.name), "error": why})
            if snapshot not in due[-1:]:
                shutil.rmtree(snapshot, ignore_errors=True)
        if running is None:
            self._append(self._passed_over)
            self._passed_over = []
        return due[-1] if due else None

    def _write(self, snapshot: Path, call: Call) -> None:
        line: dict[str, Any] = {"step": int(snapshot.name)}
        try:
            line["scores"] = call.result()
        except UserError as error:
            line["error"] = str(error)
        except Exception as error:  # of the evaluation's own; training does not end for it
            line["error"] = f"{type(error).__name__}: {error}".split("\n")[0][:300]
        self._append([line])
        shutil.rmtree(snapshot, ignore_errors=True)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if lines:
            with (self._folder / EVALUATIONS).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)


def measure(config: dict[str, Any], snapshot: str) -> Scores:
    """The headline scores of a snapshot by name; runs in a process of its own, which gives way to the ranks. Raises DataError
    where nothing could be measured."""
    from evaluation.config import EvaluateConfig
    from evaluation.report import headline
    from evaluation.run import evaluate

    os.setpriority(os.PRIO_PROCESS, 0, 10)  # set, not added to: Ray keeps its workers
    report = evaluate(EvaluateConfig.model_validate(config), snapshot, os.path.join(snapshot, "features"))
    if report.nothing:
        raise DataError(report.nothing)
    return {score.name: score.value for score in headline(report)}


def _on_ray(datasets: str | None, config: TrainConfig, snapshot: str) -> Call:
    from orchestration.cluster import Apart

    return Apart(measure, wanted_beside(config, datasets), snapshot, gpus=config.watch.evaluate_gpus)
