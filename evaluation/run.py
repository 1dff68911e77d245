"""evaluate: a checkpoint and a config in, a Report out.

The pictures of a task go forward once for all protocols together (and once per corruption); every protocol then works on
stored features. A dataset that is absent or broken is a row of the report with its reason; the others go on.
"""

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation import asked, results
from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import Task
from evaluation.config import PICTURES_ALONE, PROBES, EvaluateConfig
from evaluation.contents import by_content
from evaluation.corruptions.corruptions import CONSTANTS
from evaluation.features.store import FeatureStore
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder, torch_threads
from evaluation.models.open import open_encoder, worker_encoder
from evaluation.overlap import Found, effects_of
from evaluation.parts import Parts, look, settled, status_of, unforeseen
from evaluation.pictures.pictures import Pictures, readable
from evaluation.probe.linear_probe import SOLVERS, place
from evaluation.protocols.lesson import learned_from
from evaluation.protocols.protocol import Findings, Measure, Question
from evaluation.protocols.spoken import check_descriptions
from evaluation.protocols.table import PROTOCOLS
from evaluation.protocols.truth import clusters_of
from evaluation.report import OUTCOMES, Report
from pipeline import storage
from pipeline.errors import ConfigError, DataError, UserError
from pipeline.execution.executor import Executor
from pipeline.execution.progress import Progress, silent


def evaluate(
    config: EvaluateConfig,
    checkpoint_folder: str,
    folder: str,
    progress: Progress = silent,
    dataset: str | None = None,
    executor: Executor | None = None,
) -> Report:
    """Measure the model in `checkpoint_folder`: ours, a foreign one, or a function of the user's (models/open.py).

    Features and findings are kept below `folder`, which runs may share. `dataset` is the folder of the data it was trained
    on: the overlap lists there become the report's `overlaps`. `executor` makes features in workers, a part each.

    The same checkpoint and config give the same report id. Raises ConfigError for an unknown task and DataError for a
    checkpoint that cannot be read; a dataset that is absent or broken is a row of `Report.absent`.
    """
    encoder = open_encoder(checkpoint_folder, config.batch_size)
    opener = functools.partial(
        worker_encoder, checkpoint_folder, encoder.checkpoint_id, config.batch_size, config.threads
    )
    store = FeatureStore(folder, encoder, config.seed, config.features, executor, opener)
    started = time.monotonic()
    with torch_threads(config.threads):
        work = _Evaluation(config, encoder, store, progress)
        for task in work.tasks:
            work.measure(task)
        progress(len(work.tasks), len(work.tasks), "done")
    return work.report(time.monotonic() - started, dataset)


INTERVALS = (
    "95 %: Wilson for proportions and means of bounded values, over classes and folds of as many pictures as scatter like them;"
    " Newcombe for areas; bootstrap,"
    " never narrower than counts allow, for average precision and calibration; with pictures as the unit of captions, and videos"
    " as that of their frames and clips"
)
NOT_TOLD: Any = {"batch_size": True, "threads": True, "datasets": True, "zero_shot": {"descriptions": True}}
"""Of the config: what changes no number, and paths, whose content the findings tell."""


class _Evaluation:
    """What is collected while tasks are measured one after the other."""

    def __init__(self, config: EvaluateConfig, encoder: Encoder, store: FeatureStore, progress: Progress) -> None:
        self.config = config
        self.tasks = [settled(catalog.find(name), config.datasets) for name in config.tasks]
        self._encoder = encoder
        _check_possible(config, encoder, self.tasks)
        check_descriptions(config.zero_shot.descriptions, self.tasks)
        self._store = store
        self._folder = storage.join(store.folder, results.FOLDER)
        self._progress = progress
        self._found: list[Findings] = []
        self._absent: list[dict[str, str]] = []
        self._prompts: dict[str, str] = {}
        self._now = self.tasks[0]

    def measure(self, task: Task) -> None:
        self._now = task
        self._say()
        try:
            parts = look(task, self.config.datasets, asked.learns(self.config))
            question = self._question(parts)
        except DataError as error:
            self._fail(task, error)
            return
        fitting, rows = asked.fitting(task, self.config, self._encoder)
        fitting, unlearned = asked.able(fitting, parts, self.config)
        keys, unread = asked.keys(fitting, question)
        self._absent += [{"task": task.name, **row} for row in (*rows, *unlearned, *unread)]
        fitting = [each for each in fitting if each.name in keys]
        known = {name: results.load(self._folder, key) for name, key in keys.items()}
        with contextlib.suppress(Exception):  # whose picture or feature it is shows below, protocol by protocol
            self._make([pair for each in fitting if known[each.name] is None for pair in each.reads(question)])
        for each in fitting:
            found = known[each.name] or self._measured(each, question, keys[each.name])
            if found is not None:
                self._found.append(found)
                self._absent += found.absent

    def _measured(self, protocol: Measure, question: Question, key: str) -> Findings | None:
        try:
            self._make(protocol.reads(question))
            found = protocol.measure(question)
            found.details |= (
                lacking_of(question) | clusters_told(question) | (learned_from(question) if protocol.learns else {})
            )
        except DataError as error:
            self._fail(question.task, error, protocol.name)
            return None
        except (UserError, OSError):  # a recipe's mistake, or a disk that is full: for all tasks alike
            raise
        except Exception as error:
            self._note(question.task, "failed", unforeseen(error), protocol.name)
            return None
        results.save(self._folder, key, found)
        return found

    def _fail(self, task: Task, error: DataError, protocol: str = "") -> None:
        self._note(task, status_of(error), str(error), protocol)

    def _note(self, task: Task, status: str, reason: str, protocol: str = "") -> None:
        self._absent.append({"task": task.name, "protocol": protocol, "status": status, "reason": readable(reason)})

    def _question(self, parts: Parts) -> Question:
        task = parts.task
        prompts = catalog.prompts_of(task.prompts or task.name) if task.kind != "retrieval" else None
        if prompts:
            self._prompts[task.name] = prompts.version
        return Question(
            task, self.config, self._encoder, parts.test, parts.train, parts.val, prompts, self._features, self._store.texts
        )  # fmt: skip

    def _make(self, reads: Sequence[tuple[Pictures, Wanted]]) -> None:
        """All features that the protocols will read, list by list, so that each picture is decoded once."""
        for pictures, wanted in asked.by_list(reads):
            self._features(pictures, wanted)

    def _features(self, pictures: Pictures, wanted: Sequence[Wanted]) -> Mapping[Wanted, NDArray[np.float32]]:
        return self._store.get(pictures, wanted, lambda done, total, what: self._say(f": {what}, {done} of {total}"))

    def _say(self, detail: str = "") -> None:
        self._progress(self.tasks.index(self._now), len(self.tasks), f"{self._now.name}{detail}")

    def report(self, seconds: float, dataset: str | None) -> Report:
        outcomes = pa.concat_tables([OUTCOMES.empty_table(), *(found.outcome_table() for found in self._found)])
        config = by_content(self.config, exclude=NOT_TOLD)
        config["features"] = {"precision": self.config.features.precision}
        config["tasks"] = [task.name for task in self.tasks]  # one's own cards by name, not by where they lie
        config["metrics"] = {task.name: task.metric for task in self.tasks}
        details: dict[str, dict[str, Any]] = {}
        for found in self._found:
            details.setdefault(found.task, {})[found.protocol] = found.details
        overlaps = effects_of(outcomes, dataset, details) if dataset else Found([], [])
        return Report(
            checkpoint_id=self._encoder.checkpoint_id,
            config=config,
            versions={
                "prompts": self._prompts,
                "linear_probe": SOLVERS[self.config.probe.mode],
                "robustness": CONSTANTS,
                "intervals": INTERVALS,
            }
            | ({"activation": activation} if (activation := getattr(self._encoder.spec, "activation", None)) else {}),
            scores=tuple(score for found in self._found for score in found.scores),
            outcomes=outcomes,
            details=details,
            absent=(*self._absent, *overlaps.lacks),
            overlaps=tuple(overlaps.effects),
            telemetry={
                "seconds": round(seconds, 2),
                "pictures_decoded": self._store.decoded,
                "pictures_encoded": self._store.encoded,
                "features_damaged": self._store.damaged,
            },
        )


def lacking_of(question: Question) -> dict[str, Any]:
    """{"lacking": part -> reason -> count}: what of a benchmark's own list is not there; nothing where all is."""
    parts = {"train": question.train, "val": question.val, "test": question.pictures}
    told = {name: dict(part.lacking) for name, part in parts.items() if part is not None and part.lacking}
    return {"lacking": told} if told else {}


def clusters_told(question: Question) -> dict[str, Any]:
    """{"clusters": how many}: what intervals count in place of pictures; None where the card knows of clusters that the names in
    this copy do not tell; nothing where none are known."""
    clusters_N = clusters_of(question.pictures)
    if clusters_N is None and not question.task.cluster:
        return {}
    return {"clusters": None if clusters_N is None else len(np.unique(clusters_N))}


def _check_possible(config: EvaluateConfig, encoder: Encoder, tasks: Sequence[Task]) -> None:
    """Raises ConfigError where a protocol was asked for that this model can never do, or where nothing at all can be."""
    if any(PROTOCOLS[name].learns for name in config.protocols):
        place(config.probe.device, config.probe.precision)
    if encoder.reads_text:
        return
    able = PICTURES_ALONE if encoder.class_names else PROBES
    impossible = [name for name in config.protocols if name not in able]
    if impossible and "protocols" in config.model_fields_set:
        raise ConfigError(
            f"evaluate.protocols: {impossible[0]} asks in words, and {encoder.spec.name} reads none; use"
            f" some of [{', '.join(able)}]"
        )
    if not any(task.train for task in tasks) and not encoder.class_names:
        raise ConfigError(
            f"evaluate.tasks: {encoder.spec.name} can only be probed, and {', '.join(task.name for task in tasks)} has no"
            " training pictures; add one such as digits"
        )
