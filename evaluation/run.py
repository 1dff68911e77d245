"""evaluate: a checkpoint and a config in, a Report out.

The pictures of a task go forward once for all protocols together (and once per corruption); every protocol then works on
stored features. A dataset that is absent or broken is a row of the report with its reason; the others go on.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import Task
from evaluation.config import EvaluateConfig
from evaluation.corruptions.corruptions import CONSTANTS
from evaluation.features.store import FeatureStore, Wanted
from evaluation.features.texts import stored_texts
from evaluation.models.encoder import Checkpoint, Encoder, torch_threads
from evaluation.overlap import effects_of
from evaluation.pictures.pictures import Pictures, load
from evaluation.probe.linear_probe import SOLVER
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.table import PROTOCOLS
from evaluation.report import OUTCOMES, Report
from pipeline.errors import ConfigError, DataError
from pipeline.execution.ledger import Progress, silent


def evaluate(
    config: EvaluateConfig,
    checkpoint_folder: str,
    folder: str,
    progress: Progress = silent,
    dataset: str | None = None,
) -> Report:
    """Measure the checkpoint in `checkpoint_folder`; features are kept below `folder`, which runs may share.

    `dataset` is the folder of the data it was trained on: the overlap lists there become the report's `overlaps`.

    The same checkpoint and config give the same report id. Raises ConfigError for an unknown task and DataError for a
    checkpoint that cannot be read.
    """
    from training.saving.checkpoint import Checkpoint as SavedCheckpoint

    return evaluate_checkpoint(config, SavedCheckpoint.load(checkpoint_folder), folder, progress, dataset)


def evaluate_checkpoint(
    config: EvaluateConfig,
    checkpoint: Checkpoint,
    folder: str,
    progress: Progress = silent,
    dataset: str | None = None,
) -> Report:
    """As `evaluate`, for a checkpoint that is loaded already."""
    started = time.monotonic()
    with torch_threads(config.threads):
        work = _Evaluation(config, Encoder(checkpoint, config.batch_size), folder, progress)
        for task in work.tasks:
            work.measure(task)
        progress(len(work.tasks), len(work.tasks), "done")
    return work.report(time.monotonic() - started, dataset)


class _Evaluation:
    """What is collected while tasks are measured one after the other."""

    def __init__(self, config: EvaluateConfig, encoder: Encoder, folder: str, progress: Progress) -> None:
        self.config = config
        self.tasks = [catalog.find(name) for name in config.tasks]
        self._encoder = encoder
        _check_possible(config, encoder, self.tasks)
        self._store = FeatureStore(folder, encoder, config.seed)
        self._progress = progress
        self._found: list[Findings] = []
        self._absent: list[dict[str, str]] = []
        self._prompts: dict[str, str] = {}
        self._now = config.tasks[0]

    def measure(self, task: Task) -> None:
        self._now = task.name
        self._say()
        protocols = [PROTOCOLS[name] for name in self.config.protocols]
        fitting = [each for each in protocols if each.unfit(task, self._encoder) is None]
        if not fitting:
            return
        try:
            question = self._question(
                task,
                learns=bool(self.config.zero_shot.temperature_pictures)
                or any(each.name == "linear_probe" for each in fitting),
            )
            self._make([pair for each in fitting for pair in each.reads(question)])
            self._found += [each.measure(question) for each in fitting]
        except DataError as error:
            self._absent.append({"task": task.name, "reason": str(error)})

    def _question(self, task: Task, learns: bool) -> Question:
        pictures = load(task.loader, task.split, task.pictures)
        train = load(task.loader, task.train) if learns and task.train else None
        prompts = catalog.prompts_of(task.prompts or task.name) if task.kind != "retrieval" else None
        if prompts:
            self._prompts[task.name] = prompts.version
        texts = functools.partial(stored_texts, self._store.folder, self._encoder)
        return Question(task, self.config, self._encoder, pictures, train, prompts, self._features, texts)

    def _make(self, reads: Sequence[tuple[Pictures, Wanted]]) -> None:
        """All features that the protocols will read, list by list, so that each picture is decoded once."""
        lists = {pictures.identity: pictures for pictures, _ in reads}
        for identity, pictures in lists.items():
            self._features(pictures, list(dict.fromkeys(want for each, want in reads if each.identity == identity)))

    def _features(self, pictures: Pictures, wanted: Sequence[Wanted]) -> Mapping[Wanted, NDArray[np.float32]]:
        return self._store.get(pictures, wanted, lambda done, total, what: self._say(f": {what}, {done} of {total}"))

    def _say(self, detail: str = "") -> None:
        names = self.config.tasks
        self._progress(names.index(self._now), len(names), f"{self._now}{detail}")

    def report(self, seconds: float, dataset: str | None) -> Report:
        outcomes = pa.concat_tables([OUTCOMES.empty_table(), *(found.outcome_table() for found in self._found)])
        config = self.config.model_dump(mode="json", exclude={"batch_size", "threads"})
        config["metrics"] = {task.name: task.metric for task in self.tasks}
        details: dict[str, dict[str, Any]] = {}
        for found in self._found:
            details.setdefault(found.task, {})[found.protocol] = found.details
        return Report(
            checkpoint_id=self._encoder.checkpoint_id,
            config=config,
            versions={
                "prompts": self._prompts,
                "linear_probe": SOLVER,
                "robustness": CONSTANTS,
                "intervals": "95 %: Wilson for proportions, percentile bootstrap over pictures for means",
            },
            scores=tuple(score for found in self._found for score in found.scores),
            outcomes=outcomes,
            details=details,
            absent=tuple(self._absent),
            overlaps=tuple(effects_of(outcomes, dataset)) if dataset else (),
            telemetry={
                "seconds": round(seconds, 2),
                "pictures_decoded": self._store.decoded,
                "pictures_encoded": self._store.encoded,
            },
        )


def _check_possible(config: EvaluateConfig, encoder: Encoder, tasks: Sequence[Task]) -> None:
    """Raises ConfigError where a protocol was asked for that this model can never do, or where nothing at all can be."""
    if encoder.reads_text:
        return
    impossible = [name for name in config.protocols if name != "linear_probe"]
    if impossible and "protocols" in config.model_fields_set:
        raise ConfigError(
            f"evaluate.protocols: {impossible[0]} asks in words, and {encoder.spec.name} reads none; use [linear_probe]"
        )
    if not any(task.train for task in tasks):
        raise ConfigError(
            f"evaluate.tasks: {encoder.spec.name} can only be probed, and {', '.join(task.name for task in tasks)} has no"
            " training pictures; add one such as digits"
        )
