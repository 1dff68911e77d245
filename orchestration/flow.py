"""Run a recipe: do the steps that are not finished, in order, and tell MLflow of all of them.

    plan(recipe, root)      what a run would do, and why; writes nothing
    run(recipe, root)       does it

Ray is started (or joined) when the first step asks for it, the demo web is served while a step needs it, and a run in
which every step is up to date starts neither.
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.deliver import Courier
from orchestration.delivery import Delivery
from orchestration.journal import local_root, new_run_id
from orchestration.journal_writer import Journal, end_stale_runs
from orchestration.live import ended
from orchestration.memory import PeakMemory
from orchestration.narrator import Narrator
from orchestration.progress import say
from orchestration.recipe import Recipe
from orchestration.step import Step, StepRecord, why
from orchestration.steps import build_steps
from orchestration.work import Work, only_one
from pipeline import storage
from pipeline.errors import ConfigError, UserError
from pipeline.execution.progress import Progress, silent


@dataclass(frozen=True)
class PlannedStep:
    """`path` is empty while an input is not made yet: the folder's name depends on it."""

    name: str
    path: str
    done: bool
    action: str
    why: str


@dataclass(frozen=True)
class StepState:
    name: str
    state: str
    """`up to date` or `done`."""
    path: str
    seconds: float


@dataclass(frozen=True)
class RunResult:
    """What a run gave. `run_id` is empty when nothing had to be done."""

    recipe: str
    run_id: str
    steps: tuple[StepState, ...]
    manifest_id: str | None
    dataset: str | None
    checkpoint_id: str | None
    scores: tuple[Any, ...]
    report: str | None
    seconds: float
    peak_memory_bytes: int | None
    tracked: Delivery | None
    absent: tuple[Mapping[str, str], ...] = ()
    """What the evaluation could not measure: task, protocol ("" where it is all of them), status and reason."""
    notes: tuple[Any, ...] = ()
    """What to know about its figures (evaluation/notes.py): task, protocol, kind, says."""
    nothing_measured: str | None = None
    """Why an evaluation has not one score, and the way out; None where it has some, or where there is none."""


def plan(recipe: Recipe, root: str, until: str | None = None) -> list[PlannedStep]:
    """Every step of the recipe: whether it is up to date, what a run would do, and why."""
    records: dict[str, StepRecord] = {}
    planned: list[PlannedStep] = []
    for step in _until(build_steps(recipe, planning=True), until):
        missing = [name for name in step.inputs if name not in records]
        if missing:
            waits = f"after {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            planned.append(
                PlannedStep(step.name, "", False, step.about, f"{waits}; up to date if their output is the same")
            )
            continue
        path = step.path(root, records)
        record = step.finished(root, records)
        if record:
            records[step.name] = record
            planned.append(PlannedStep(step.name, path, True, "nothing", f"made in {record.seconds:.0f} s"))
        else:
            planned.append(PlannedStep(step.name, path, False, step.about, why(step, root, records)))
    return planned


def finished_dataset(recipe: Recipe, root: str) -> str:
    """The folder of the dataset that the recipe trains on. Raises ConfigError where it is not there yet."""
    root = str(local_root(root))
    records = _finished(_until(build_steps(recipe), "pack"), root)
    record = records.get("pack") or records.get("data")
    if record is not None:
        return record.folder
    if recipe.data is not None:
        return recipe.data
    raise ConfigError(f"recipe {recipe.name}: its dataset is not finished; run `openwit curate` on it first")


def run(
    recipe: Recipe,
    root: str,
    until: str | None = None,
    progress: Progress = silent,
    executor: str | None = None,
) -> RunResult:
    """Do what is not done. `executor` is "ray" (default, or OPENWIT_EXECUTOR), "processes" of this
    machine alone, or "in-process", for debugging.

    Raises UserError for what a user can mend; finished work stays, and a run that is started again goes on from it.
    """
    started = time.monotonic()
    root = str(local_root(root))
    kind = executor or os.environ.get("OPENWIT_EXECUTOR", "ray")
    if kind not in ("ray", "processes", "in-process"):
        raise ConfigError(f"OPENWIT_EXECUTOR: {kind!r} is no executor; use ray, processes or in-process")
    steps = _until(build_steps(recipe), until)
    records = _finished(steps, root)
    if len(records) == len(steps):
        states = tuple(StepState(step.name, "up to date", records[step.name].path, 0.0) for step in steps)
        return _result(recipe, "", states, records, started, None, None)
    end_stale_runs(root)
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(PeakMemory())
        journal = stack.enter_context(Journal(root, new_run_id(recipe.name)))
        courier = Courier(journal.path, experiment=recipe.track.experiment).start()
        narrator = Narrator(journal, recipe, root)
        work = Work(recipe, root, progress, narrator, journal.run_id, memory, kind, stack)
        try:
            states = _do(steps, root, work, narrator, progress)
            narrator.finished(work.records, memory.peak_bytes)
        except BaseException as error:
            narrator.failed(error)
            courier.stop(10.0)
            raise
        delivery = courier.stop(60.0)
    return _result(recipe, journal.run_id, states, work.records, started, memory.peak_bytes, delivery)


def _until(steps: Sequence[Step], until: str | None) -> list[Step]:
    if until is None:
        return list(steps)
    names = [step.name for step in steps]
    stop = {"pack": "data", "train": "checkpoint"}.get(until, until) if until not in names else until
    if stop not in names:
        raise ConfigError(f"this recipe has no {until} step; it has {', '.join(names)}")
    if stop == "evaluate":
        return list(steps)  # the page belongs to the scores
    return list(steps[: names.index(stop) + 1])


def _finished(steps: Sequence[Step], root: str) -> dict[str, StepRecord]:
    records: dict[str, StepRecord] = {}
    for step in steps:
        record = step.finished(root, records) if all(name in records for name in step.inputs) else None
        if record:
            records[step.name] = record
    return records


def _do(steps: Sequence[Step], root: str, work: Work, narrator: Narrator, progress: Progress) -> tuple[StepState, ...]:
    states = []
    for number, step in enumerate(steps):
        record = step.finished(root, work.records)
        state = "up to date" if record else "done"
        narrator.step_started(step, state)
        if record is None:
            progress(number, len(steps), f"steps: {step.name}, {step.about}")
            with only_one(root, step.path(root, work.records)) as path:
                # Another run may have finished it while this one waited for its turn to look.
                record = step.finished(root, work.records) or _run(step, work, root, path)
        work.records[step.name] = record
        narrator.step_ended(step, record)
        say(progress, ended(record))
        states.append(StepState(step.name, state, record.path, record.seconds if state == "done" else 0.0))
    progress(len(steps), len(steps), "steps")
    return tuple(states)


def _run(step: Step, work: Work, root: str, path: str) -> StepRecord:
    try:
        return step.run(work, root)
    except UserError:
        if not _worth_keeping(path):
            storage.remove_tree(path)
        raise


def _worth_keeping(path: str) -> bool:
    """Whether a rerun would use what lies there: finished work items or checkpoints."""
    return any(
        name.endswith(".json")
        for folder, _, names in os.walk(path)
        if os.path.basename(folder) == "items" or f"{os.sep}checkpoints" in folder
        for name in names
    )


def _result(
    recipe: Recipe,
    run_id: str,
    states: tuple[StepState, ...],
    records: Mapping[str, StepRecord],
    started: float,
    peak_memory_bytes: int | None,
    tracked: Delivery | None,
) -> RunResult:
    dataset = records.get("pack") or records.get("data")
    model = records.get("train") or records.get("checkpoint")
    scores: tuple[Any, ...] = ()
    absent: tuple[Mapping[str, str], ...] = ()
    notes: tuple[Any, ...] = ()
    nothing = None
    if "evaluate" in records:
        from evaluation.notes import notes_of
        from evaluation.report import Report, headline

        measured = Report.load(records["evaluate"].path)
        scores, absent, notes = tuple(headline(measured)), tuple(measured.absent), tuple(notes_of(measured))
        nothing = measured.nothing
    return RunResult(
        recipe.name,
        run_id,
        states,
        dataset.output_id if dataset else None,
        dataset.folder if dataset else None,
        model.output_id if model else None,
        scores,
        storage.join(records["report"].path, "report.html") if "report" in records else None,
        round(time.monotonic() - started, 1),
        peak_memory_bytes,
        tracked,
        absent,
        notes,
        nothing,
    )
