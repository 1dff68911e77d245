"""evaluate: a checkpoint and a config in, a Report out.

Per dataset the pictures go forward once (and once per corruption); every protocol then works on stored features.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation import catalog, retrieval, robustness
from evaluation.catalog import Prompts, Task
from evaluation.config import EvaluateConfig
from evaluation.corruptions import CONSTANTS
from evaluation.encoder import Checkpoint, Encoder, torch_threads
from evaluation.features import FeatureStore, Wanted
from evaluation.linear_probe import SOLVER, probe
from evaluation.metrics import METRICS, Answers, confusion
from evaluation.overlap import effects_of
from evaluation.pictures import Pictures, load
from evaluation.report import OUTCOMES, Report, Score
from evaluation.statistics import Interval, wilson
from evaluation.zero_shot import Classifier, Rows, classifier, cosines, margins
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
    checkpoint that cannot be read or a dataset that is not the one its benchmark names.
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
        self._protocols = _possible(config, encoder, self.tasks)
        self._store = FeatureStore(folder, encoder, config.seed)
        self._progress = progress
        self._scores: list[Score] = []
        self._outcomes: list[pa.Table] = []
        self._confusions: dict[str, dict[str, Any]] = {}
        self._templates: list[dict[str, Any]] = []
        self._probes: dict[str, Any] = {}
        self._curves: dict[str, Any] = {}
        self._prompts: dict[str, str] = {}
        self._now = config.tasks[0]

    def measure(self, task: Task) -> None:
        protocols = self._protocols
        self._now = task.name
        self._say()
        if not self._encoder.reads_text and not task.train:
            return  # nothing here can be asked without words
        pictures = load(task.loader, task.split, task.pictures)
        self._features(pictures, self._clean(task))
        if task.kind == "retrieval":
            if "retrieval" in protocols:
                self._retrieve(task, pictures)
            return
        prompts = catalog.prompts_of(task.prompts or task.name)
        self._prompts[task.name] = prompts.version
        self._confusions[task.name] = {"classes": list(prompts.classes)}
        labels_N = label_positions(pictures, task.label, prompts)
        if "zero_shot" in protocols or "robustness" in protocols:
            words = classifier(self._encoder.texts, prompts)
            if "zero_shot" in protocols:
                self._zero_shot(task, pictures, prompts, labels_N, words)
            if "robustness" in protocols:
                self._robustness(task, pictures, prompts, words)
        if "linear_probe" in protocols and task.train:
            self._linear_probe(task, pictures, load(task.loader, task.train), prompts, labels_N)

    def _clean(self, task: Task) -> list[Wanted]:
        """What all tasks together want of this task's uncorrupted pictures, so that one pass makes it."""
        probed = any((other.loader, other.split) == (task.loader, task.split) and other.train for other in self.tasks)
        embeddings = [Wanted()] if self._encoder.reads_text else []
        return [*embeddings, *self._probed()] if probed and "linear_probe" in self._protocols else embeddings

    def _probed(self) -> list[Wanted]:
        return [Wanted(layer) for layer in self._encoder.probe_layers]

    def _zero_shot(
        self, task: Task, pictures: Pictures, prompts: Prompts, labels_N: NDArray[np.int64], words: Classifier
    ) -> None:
        embeddings_ND = self._features(pictures, [Wanted()])[Wanted()]
        scores_NC = cosines(embeddings_ND, words.weights)
        self._classified(task, "zero_shot", "ensemble", prompts, labels_N, scores_NC)
        for template, weights_CD in zip(prompts.templates, words.single, strict=True):
            answers = Answers(labels_N, cosines(embeddings_ND, weights_CD).argmax(axis=1), len(prompts.classes))
            self._templates.append({"task": task.name, "template": template, "value": self._value(task, answers)})

    def _linear_probe(
        self, task: Task, pictures: Pictures, train: Pictures, prompts: Prompts, labels_N: NDArray[np.int64]
    ) -> None:
        train_labels_N = label_positions(train, task.label, prompts)
        classes = len(prompts.classes)
        learned, asked = self._features(train, self._probed()), self._features(pictures, self._probed())

        def value(right: NDArray[np.int64], answered: NDArray[np.int64]) -> float:
            return self._value(task, Answers(right, answered, classes))

        tried = {w: probe(learned[w], train_labels_N, asked[w], value, self.config.seed) for w in self._probed()}
        # Of several layers the one that does best on the validation part; the test part is used once.
        best = max(tried, key=lambda want: max(each.validation for each in tried[want].search))
        done = tried[best]
        scores_NC = np.full((pictures.count, classes), -np.inf)
        scores_NC[:, : done.scores.shape[1]] = done.scores
        self._classified(task, "linear_probe", "test", prompts, labels_N, scores_NC)
        self._probes[task.name] = {
            "search": [asdict(tried) for tried in done.search],
            "penalty": done.penalty,
            "iterations": done.iterations,
            "gradient_norm": _significant(done.gradient_norm),
        }
        if len(tried) > 1:
            self._probes[task.name]["layer"] = best.layer
            self._probes[task.name]["layers"] = {
                want.layer: {
                    "validation": max(each.validation for each in found.search),
                    "test": _significant(value(labels_N, found.scores.argmax(axis=1))),
                }
                for want, found in tried.items()
            }

    def _robustness(self, task: Task, pictures: Pictures, prompts: Prompts, words: Classifier) -> None:
        drawn = robustness.drawn_pictures(pictures, self.config.robustness_pictures, self.config.seed)
        labels_N = label_positions(drawn, task.label, prompts)
        variants = robustness.variants(self.config.corruptions)
        features = self._features(drawn, [Wanted(), *(Wanted(variant=variant) for variant in variants)])

        def right(want: Wanted) -> NDArray[np.bool_]:
            return np.asarray(cosines(features[want], words.weights).argmax(axis=1) == labels_N)

        correct = {variant: right(Wanted(variant=variant)) for variant in variants}
        clean = right(Wanted())
        summary = robustness.summarise(correct, self.config.bootstrap_resamples, self.config.seed)
        summary = {"clean": wilson(int(clean.sum()), len(clean))} | summary
        for variant, interval in summary.items():
            self._add(task, "robustness", task.metric, variant, interval, len(labels_N))
        self._curves[task.name] = {"clean": summary["clean"].value} | {
            name: [summary[str(robustness.Variant(name, severity))].value for severity in robustness.SEVERITIES]
            for name in self.config.corruptions
        }

    def _retrieve(self, task: Task, pictures: Pictures) -> None:
        texts, group_N = retrieval.group_captions(pictures.column(task.label))
        text_MD = self._encoder.texts(texts)
        image_ND = self._features(pictures, [Wanted()])[Wanted()]
        group_M = np.arange(len(texts))
        for variant, ranks in (
            ("image_to_text", retrieval.first_match_ranks(image_ND, text_MD, group_N, group_M)),
            ("text_to_image", retrieval.first_match_ranks(text_MD, image_ND, group_M, group_N)),
        ):
            for depth in retrieval.DEPTHS:
                interval = wilson(int((ranks < depth).sum()), len(ranks))
                self._add(task, "retrieval", f"recall@{depth}", variant, interval, len(ranks))

    def _classified(
        self, task: Task, protocol: str, variant: str, prompts: Prompts, labels_N: NDArray[np.int64], scores_NC: Rows
    ) -> None:
        """Scores by every metric, the confusion matrix and the outcome of each picture."""
        classes = np.array(list(prompts.classes))
        answers = Answers(labels_N, scores_NC.argmax(axis=1), len(classes))
        for metric, measure in METRICS.items():
            interval = measure(answers, self.config.bootstrap_resamples, self.config.seed)
            self._add(task, protocol, metric, variant, interval, len(labels_N))
        self._confusions[task.name][protocol] = confusion(answers).tolist()
        count = len(labels_N)
        columns = {
            "task": [task.name] * count,
            "protocol": [protocol] * count,
            "variant": [variant] * count,
            "index": np.arange(count, dtype=np.int32),
            "label": classes[labels_N],
            "prediction": classes[answers.predictions],
            "correct": answers.correct,
            # Rounded, because the last bits of a margin tell of the machine and not of the model.
            "margin": np.round(margins(scores_NC, labels_N), 4).astype(np.float32),
        }
        self._outcomes.append(pa.table(columns, schema=OUTCOMES))

    def _value(self, task: Task, answers: Answers) -> float:
        """The task's own metric, where only the value is asked for."""
        return METRICS[task.metric](answers, 1, 0).value

    def _features(self, pictures: Pictures, wanted: Sequence[Wanted]) -> Mapping[Wanted, Rows]:
        return self._store.get(pictures, wanted, lambda done, total, what: self._say(f": {what}, {done} of {total}"))

    def _say(self, detail: str = "") -> None:
        names = self.config.tasks
        self._progress(names.index(self._now), len(names), f"{self._now}{detail}")

    def _add(self, task: Task, protocol: str, metric: str, variant: str, interval: Interval, count: int) -> None:
        value, low, high = (_significant(end) for end in interval)
        self._scores.append(Score(task.name, protocol, metric, variant, value, low, high, count))

    def report(self, seconds: float, dataset: str | None) -> Report:
        outcomes = pa.concat_tables([OUTCOMES.empty_table(), *self._outcomes])
        config = self.config.model_dump(mode="json", exclude={"batch_size", "threads"})
        config["metrics"] = {task.name: task.metric for task in self.tasks}
        return Report(
            checkpoint_id=self._encoder.checkpoint_id,
            config=config,
            versions={
                "prompts": self._prompts,
                "linear_probe": SOLVER,
                "robustness": CONSTANTS,
                "intervals": "95 %: Wilson for proportions, percentile bootstrap over pictures for means",
            },
            scores=tuple(self._scores),
            outcomes=outcomes,
            confusions=self._confusions,
            templates=tuple(self._templates),
            probes=self._probes,
            curves=self._curves,
            overlaps=tuple(effects_of(outcomes, dataset)) if dataset else (),
            telemetry={
                "seconds": round(seconds, 2),
                "pictures_decoded": self._store.decoded,
                "pictures_encoded": self._store.encoded,
            },
        )


def _possible(config: EvaluateConfig, encoder: Encoder, tasks: Sequence[Task]) -> tuple[str, ...]:
    """The protocols that this model can be measured by. Raises ConfigError where one was asked for that it cannot."""
    if encoder.reads_text:
        return config.protocols
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
    return ("linear_probe",)


def label_positions(pictures: Pictures, label: str, prompts: Prompts) -> NDArray[np.int64]:
    """Position of each picture's class in the prompts. Raises DataError for a class that has no name there."""
    place = {name: position for position, name in enumerate(prompts.classes)}
    unknown = sorted(set(pictures.column(label)) - set(place))
    if unknown:
        raise DataError(f"{pictures.name}: class '{unknown[0]}' has no prompts; add it to the task's prompt file")
    return np.array([place[word] for word in pictures.column(label)], np.int64)


def _significant(value: float) -> float:
    """Six significant digits: more would tell of the machine's rounding."""
    return float(f"{value:.6g}")
