"""Narrator: what a run tells MLflow, written as journal events. A parent run for the recipe, a child run per step."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestration.job_package import commit
from orchestration.journal import Status
from orchestration.journal_writer import Journal
from orchestration.recipe import Recipe
from orchestration.step import Step, StepRecord
from orchestration.training_rows import numbers, read_evaluations
from pipeline import __version__, storage
from training.watching.record import whole_rows

if TYPE_CHECKING:
    from evaluation.report import Score


class Narrator:
    """Turns what happens into events. Never waits for MLflow: the journal takes everything at once."""

    def __init__(self, journal: Journal, recipe: Recipe, root: str) -> None:
        self._journal, self._recipe, self._root = journal, recipe, root
        self._parent = recipe.name
        self._told_step = 0
        self._told_evaluations: set[int] = set()
        tags = {
            "openwit.recipe": recipe.name,
            "openwit.version": __version__,
            "openwit.reproduce": reproduce_command(),
            "mlflow.source.git.commit": code_commit(),
            "mlflow.source.name": reproduce_command(),
            "mlflow.user": os.environ.get("USER", "unknown"),
        }
        journal.run_started(self._parent, recipe.name, tags=tags, params=flat(recipe.shown()))

    def step_started(self, step: Step, state: str) -> None:
        tags = {"openwit.step": step.name, "openwit.state": state, "openwit.about": step.about}
        self._journal.run_started(step.name, step.name, parent=self._parent, tags=tags, params=flat(step.config))

    def train_step(self, row: Mapping[str, Any]) -> None:
        """A row of steps.jsonl while training goes on; a row that was told before is not told again."""
        step = int(row["step"])
        if step <= self._told_step:
            return
        self._told_step = step
        self._journal.metrics("train", numbers(row), step)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """A row of evaluations.jsonl: the scores of the weights as they were after a step, as metrics of that step."""
        step = int(row["step"])
        if step in self._told_evaluations:
            return
        self._told_evaluations.add(step)
        scores = {f"while_training/{name}": value for name, value in row.get("scores", {}).items()}
        if scores:
            self._journal.metrics("train", scores, step)

    def step_ended(self, step: Step, record: StepRecord) -> None:
        facts = {name: value for name, value in record.facts.items() if isinstance(value, int | float)}
        dropped = {
            f"dropped/{unit}/{reason}": count
            for unit, reasons in record.facts.get("reasons", {}).items()
            for reason, count in reasons.items()
        }
        self._journal.metrics(step.name, {"seconds": record.seconds, **facts, **dropped})
        self._journal.tags(step.name, {"openwit.output_id": record.output_id, "openwit.folder": record.path})
        if step.name in ("pack", "data"):
            self._dataset(step.name, record, "curated")
        if step.name == "train":
            self._trained(record)
        if step.name == "evaluate":
            self._evaluated(record)
        self._journal.run_ended(step.name)

    def _trained(self, record: StepRecord) -> None:
        path = storage.join(record.path, "steps.jsonl")
        for _, row in whole_rows(storage.read_bytes(path))[0]:
            self.train_step(row)
        for row in read_evaluations(record.path):
            self.evaluation(row)

    def _dataset(self, run: str, record: StepRecord, context: str) -> None:
        profile = {name: record.facts[name] for name in ("rows", "bytes", "shards") if name in record.facts}
        name = f"{self._recipe.name}-dataset"
        self._journal.dataset(run, name, record.output_id, record.folder, profile, context)

    def _evaluated(self, record: StepRecord) -> None:
        self._journal.metrics("evaluate", _scores(record))
        for name in ("report.json", "outcomes.parquet"):  # the second: what each model said of each picture
            if storage.exists(storage.join(record.path, name)):
                self._journal.artifact("evaluate", storage.join(record.path, name), "scores")
        self._tasks_measured(record)

    def _tasks_measured(self, record: StepRecord) -> None:
        """A run per benchmark below the evaluation's: its scores with the ends of their intervals, what it was asked with."""
        from evaluation.notes import notes_of
        from evaluation.report import Report

        report = Report.load(record.path)
        self._journal.tags("evaluate", {"openwit.checkpoint_id": report.checkpoint_id, "openwit.report_id": report.id})
        for task in dict.fromkeys(score.task for score in report.scores):
            run = f"evaluate/{task}"
            tags = {"openwit.task": task, "openwit.checkpoint_id": report.checkpoint_id}
            params = {
                "metric": report.config["metrics"].get(task, ""),
                "prompts": report.versions["prompts"].get(task, ""),
            }
            self._journal.run_started(run, task, parent="evaluate", tags=tags, params=params)
            mine = [score for score in report.scores if score.task == task]
            self._journal.metrics(run, {name.removeprefix(f"{task}/"): value for name, value in _ends(mine).items()})
            self._journal.run_ended(run)
        for row in report.absent:
            name = ".".join(filter(None, (row["task"], row["protocol"])))
            self._journal.tags("evaluate", {f"openwit.not_measured.{name}": row["reason"]})
        for note in notes_of(report):
            name = ".".join(filter(None, ("openwit.note", note.task, note.protocol, note.kind)))
            self._journal.tags("evaluate", {name: note.says})

    def finished(self, records: Mapping[str, StepRecord], peak_memory_bytes: int) -> None:
        """The parent's own page: dataset, headline scores, the report, and the model in the registry."""
        dataset = records.get("pack") or records.get("data")
        if dataset:
            self._dataset(self._parent, dataset, "training")
        headline = _scores(records["evaluate"], headline_only=True) if "evaluate" in records else {}
        self._journal.metrics(self._parent, {**headline, "peak_memory_bytes": peak_memory_bytes})
        if "report" in records:
            folder = records["report"].path
            for name in ("report.html", "report.json"):
                self._journal.artifact(self._parent, storage.join(folder, name))
            if storage.exists(storage.join(folder, "pictures")):
                self._journal.artifact(self._parent, storage.join(folder, "pictures"), "pictures")
            if "evaluate" in records:
                self._pictures_of_tasks(records["evaluate"], folder)
        if "train" in records:
            self._model(records["train"], dataset, headline)
        self._journal.note(self._parent, self._summary(records, headline))
        self._journal.run_ended(self._parent)

    def _pictures_of_tasks(self, evaluate: StepRecord, folder: str) -> None:
        """Each benchmark's plots and pictures on its own run; the run has ended, and is drawn by the report that comes after it."""
        from evaluation.report import Report

        for task in dict.fromkeys(score.task for score in Report.load(evaluate.path).scores):
            if storage.exists(folder_of_task(folder, task)):
                self._journal.artifact(f"evaluate/{task}", folder_of_task(folder, task), "pictures")

    def _model(self, train: StepRecord, dataset: StepRecord | None, headline: Mapping[str, float]) -> None:
        self._journal.model(
            self._parent,
            self._recipe.name,
            storage.join(train.path, "checkpoint"),
            params=flat(train.config),
            metrics=headline,
            register_as=self._recipe.track.register_as,
            tags={
                "openwit.checkpoint_id": train.output_id,
                "openwit.manifest_id": dataset.output_id if dataset else "",
            },
            step=int(train.facts["step"]),
            dataset=(f"{self._recipe.name}-dataset", dataset.output_id) if dataset else None,
        )

    def _summary(self, records: Mapping[str, StepRecord], headline: Mapping[str, float]) -> str:
        lines = [self._recipe.description, "", "| score | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in headline.items()]
        lines += ["", f"Reproduce: `{reproduce_command()}`", "", "The whole story is in artifact `report.html`."]
        return "\n".join(lines)

    def failed(self, error: BaseException) -> None:
        """End everything that is open, saying why."""
        status: Status = "KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED"
        for run in self._journal.open_runs:
            self._journal.tags(run, {"openwit.error": f"{type(error).__name__}: {error}"[:500]})
        self._journal.end_open_runs(status)


def _scores(record: StepRecord, headline_only: bool = False) -> dict[str, float]:
    from evaluation.report import Report, headline

    report = Report.load(record.path)
    if headline_only:
        return {score.name: score.value for score in headline(report)}
    return _ends(report.scores)


def _ends(scores: "Sequence[Score]") -> dict[str, float]:
    """Each score by its name, and the ends of its interval."""
    return {
        f"{score.name}{part}": value
        for score in scores
        for part, value in (("", score.value), ("/low", score.low), ("/high", score.high))
    }


def folder_of_task(folder: str, task: str) -> str:
    """Of a report in `folder`, where one benchmark's pictures lie."""
    return storage.join(folder, "benchmarks", quote(task, safe="@"))


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys; lists stay values; sections that are null are left out."""
    if isinstance(value, Mapping):
        return {key: each for name, below in value.items() for key, each in flat(below, f"{prefix}{name}.").items()}
    return {} if value is None else {prefix.rstrip("."): value}


def reproduce_command() -> str:
    """The command line of this run, as typed."""
    arguments = sys.argv[1:] if os.path.basename(sys.argv[0]) in ("openwit", "cli.py", "__main__.py") else []
    return shlex.join(["openwit", *arguments]) if arguments else "openwit run"


def code_commit() -> str:
    """The commit of the code, "-dirty" where it was changed since; a job is told by its submitter."""
    return os.environ.get("OPENWIT_COMMIT") or str(commit())
