"""What protocols that learn from training pictures share: labels of every part, checked features, the task's own metric."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Task
from evaluation.features.store import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.probe.linear_probe import How, Score, place
from evaluation.probe.rows import check_finite
from evaluation.protocols.protocol import Question
from evaluation.protocols.truth import DIFFICULT, SEVERAL_LABELS, Truth, truth_of
from evaluation.statistics.metrics import METRICS, Answers
from pipeline import storage
from pipeline.errors import DataError


@dataclass(frozen=True)
class Lesson:
    """The right answers of the test part, the training part and, where the benchmark has one, the validation part."""

    question: Question
    asked: Truth
    learned: Truth
    chosen: Truth | None

    def features(self, layer: Wanted, part: Pictures, truth: Truth) -> NDArray[np.floating]:
        """Features of the labelled pictures of a part. Raises DataError for those that are no numbers."""
        rows_NW = self.question.features(part, [layer])[layer]
        check_finite(rows_NW, f"{self.question.task.name}: {part.name}")
        return rows_NW if len(truth.asked) == len(rows_NW) else rows_NW[truth.asked]

    def test(self, layer: Wanted) -> NDArray[np.floating]:
        return self.features(layer, self.question.pictures, self.asked)

    def train(self, layer: Wanted) -> NDArray[np.floating]:
        assert self.question.train is not None
        return self.features(layer, self.question.train, self.learned)

    def validation(self, layer: Wanted) -> tuple[NDArray[np.floating], NDArray[np.int64]] | None:
        """Features and labels of the benchmark's own validation part."""
        if self.chosen is None or self.question.val is None:
            return None
        return self.features(layer, self.question.val, self.chosen), labels_of(self.chosen)

    def everything(self, layer: Wanted) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """Training and validation part together. Raises DataError where a picture has several labels."""
        for part in (self.learned, self.chosen):
            if part is not None and part.right is not None:
                raise DataError(f"{self.question.task.name}: {SEVERAL_LABELS}")
        rows, labels, own = self.train(layer), labels_of(self.learned), self.validation(layer)
        return (rows, labels) if own is None else (np.concatenate([rows, own[0]]), np.concatenate([labels, own[1]]))

    def score(self) -> Score:
        """The task's own metric of labels and logits; accuracy where it is a mean over the test part's folds."""
        metric = METRICS["top1" if self.question.task.metric == "fold_mean" else self.question.task.metric]

        def value(labels: NDArray[np.int64], scores_NC: NDArray[np.float64]) -> float:
            if labels.ndim == 2:
                right_NC, ignored_NC = labels > 0, labels < 0
                answers = Answers.of(scores_NC, right_NC.argmax(axis=1), right_NC, ignored_NC=ignored_NC)
            else:
                answers = Answers.of(self.spread(scores_NC), labels)
            return metric(answers, 1, 0).value

        return value

    def spread(self, scores_NC: NDArray[np.float64]) -> Any:
        """With a column for every class of the task: -inf for those after the last that was learned."""
        assert self.question.prompts is not None
        classes = len(self.question.prompts.classes)
        if scores_NC.shape[1] == classes:
            return scores_NC
        whole_NC = np.full((len(scores_NC), classes), -np.inf)
        whole_NC[:, : scores_NC.shape[1]] = scores_NC
        return whole_NC


def lesson_of(question: Question) -> Lesson:
    """Raises DataError for a label without a name."""
    assert question.train is not None
    assert question.prompts is not None
    task, prompts = question.task, question.prompts
    return Lesson(
        question,
        truth_of(task, question.pictures, prompts),
        truth_of(task, question.train, prompts),
        truth_of(task, question.val, prompts) if question.val else None,
    )


def labels_of(truth: Truth) -> NDArray[np.int64]:
    """Class positions (N,), or 0 and 1 per class (N, C), and -1 where a picture counts neither way.

    VOC's difficult objects are no examples, neither of the class nor against it: its devkit's example_classifier.m learns from
    pictures with 1 and -1 in a class's list and leaves out those with 0, as VISSL's low-shot SVM does (its other one, and copies
    that have lost the mark, take them for negatives or positives; CLIP does not say).
    """
    if truth.right is None:
        return truth.labels
    labels_NC = truth.right.astype(np.int64)
    if truth.ignored is not None:
        labels_NC[truth.ignored & ~truth.right] = -1
    return labels_NC


def how_of(question: Question) -> How:
    """Where and how exactly classifiers are solved."""
    config = question.config.probe
    device, precision = place(config.device, config.precision)
    return How(config.mode, device, precision, config.full_path, config.search_gap)


def unfit_to_learn(task: Task, kinds: Sequence[str] = ("classification", "multilabel")) -> str | None:
    """Why nothing of the task's kind can be learned; whether it has pictures to learn from is seen by evaluation/parts.py."""
    if task.kind in kinds:
        return None
    return "has several labels per picture" if task.kind == "multilabel" else "has no classes to learn"


def parts_of(question: Question) -> list[Pictures]:
    assert question.train is not None
    return [part for part in (question.train, question.val, question.pictures) if part is not None]


def layers_of(encoder: Encoder) -> list[Wanted]:
    """Every layer that a probe may read: where the best one lies is not known before for models of pixels."""
    return [Wanted(layer) for layer in encoder.probe_layers]


def usual_layer(encoder: Encoder) -> Wanted:
    """The one layer of protocols that look at one: the penultimate, or the middle one of models of pixels (Chen et al. 2020,
    "Generative Pretraining from Pixels", section 4.2)."""
    return Wanted(encoder.probe_layers[len(encoder.probe_layers) // 2])


def learned_from(question: Question) -> dict[str, Any]:
    """{"learned_from": part -> pictures, and a hash of which they are and what is said of them}: two probes that learned from
    different pictures are not compared (evaluation/pairing.py)."""
    parts = {"train": question.train, "val": question.val}
    told = [question.task.label, DIFFICULT]
    return {
        "learned_from": {
            name: {
                "pictures": part.count,
                "sha256": storage.sha256(
                    json.dumps(
                        [part.identity, [part.words(column) for column in told if column in part.columns]]
                    ).encode()
                ),
            }
            for name, part in parts.items()
            if part is not None
        }
    }
