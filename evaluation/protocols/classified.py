"""From scores per class to what a report says of them: every metric, calibration, confusions and each picture's outcome."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Prompts
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.outcomes import add_classified_rows
from evaluation.protocols.protocol import Findings, Question, significant
from evaluation.protocols.truth import SEVERAL_LABELS, Truth, clusters_of
from evaluation.statistics.calibration import calibration_error, confidences, reliability
from evaluation.statistics.intervals import Interval
from evaluation.statistics.metrics import EACH_ALONE, METRICS, Answers, applicable, confusion
from pipeline.errors import DataError


def label_positions(pictures: Pictures, label: str, prompts: Prompts) -> NDArray[np.int64]:
    """Position of each picture's class in the prompts. Raises DataError for a class that has no name there, and for pictures of
    several classes."""
    if not all(isinstance(each, str) for each in pictures.column(label)):
        raise DataError(f"{pictures.name}: {SEVERAL_LABELS}")
    place = {name: position for position, name in enumerate(prompts.classes)}
    unknown = sorted(set(pictures.column(label)) - set(place))
    if unknown:
        raise DataError(f"{pictures.name}: class '{unknown[0]}' has no prompts; add it to the task's prompt file")
    return np.array([place[word] for word in pictures.column(label)], np.int64)


def add_classified(
    findings: Findings,
    question: Question,
    variant: str,
    truth: Truth | NDArray[np.int64],
    scores_NC: NDArray[np.floating],
    scale: float | None = 1.0,
    scores_of: Mapping[str, NDArray[np.floating]] | None = None,
) -> None:
    """Scores by every metric that applies; `details` gets "classes", "pictures", "confusion", "calibration"; `outcomes` a row
    per picture asked about.

    `truth` may be one position per picture of the task's list. `scale` makes logits of the scores, None says that they are
    probabilities. `scores_of` has, by the metric's name, other scores than `scores_NC` where a metric is defined on them. Raises
    DataError for NaN scores.
    """
    assert question.prompts is not None
    if not isinstance(truth, Truth):
        truth = Truth(truth, None, np.arange(len(truth)), clusters=clusters_of(question.pictures))
    if np.isnan(scores_NC.min()):
        raise DataError(f"{question.pictures.name}: scores are NaN; the features of this checkpoint are no numbers")
    config = question.config
    classes = list(question.prompts.classes)
    answers = truth.answers(scores_NC)
    many = question.task.metric in EACH_ALONE  # several labels may be alternatives, too: ReaL's
    names = EACH_ALONE if many else applicable(answers, question.task.metric)
    for name in names:
        own = (scores_of or {}).get(name)
        measured = answers if own is None else replace(answers, scores=own)
        findings.add(name, variant, METRICS[name](measured, config.bootstrap_resamples, config.seed), len(truth.labels))
    findings.details["classes"] = classes
    if truth.ignored is not None:
        findings.details["ignored"] = {"pairs": int(truth.ignored.sum()), "rule": "difficult objects count neither way"}
    findings.details["pictures"] = {"identity": question.pictures.identity, "asked": len(truth.asked)}
    add_classified_rows(findings, question.pictures, variant, truth, answers, classes, scale)
    if not many:
        findings.details["calibration"] = _calibrated(findings, question, variant, answers, scale)
    if truth.right is None:
        findings.details["confusion"] = confusion(answers).tolist()


def _calibrated(
    findings: Findings, question: Question, variant: str, answers: Answers, scale: float | None
) -> dict[str, Any]:
    """The score `calibration_error`, and the reliability diagram's data."""
    assert answers.scores is not None
    confidence_N = confidences(answers.scores, scale)
    if scale is None:  # shares of few votes lie on the edges of bins, where a last bit decides: as outcomes keep them
        confidence_N = np.round(confidence_N, 4).astype(np.float32).astype(np.float64)
    config = question.config
    error = calibration_error(
        confidence_N, answers.correct, config.bootstrap_resamples, config.seed, clusters=answers.clusters
    )
    findings.add("calibration_error", variant, error, len(confidence_N))
    bins = [
        {key: significant(value) if isinstance(value, float) else value for key, value in asdict(each).items()}
        for each in reliability(confidence_N, answers.correct)
    ]
    return {"error": significant(error.value), "scale": scale and significant(scale), "bins": bins}


def metric_of_scores(question: Question, truth: Truth, scores_NC: NDArray[np.floating]) -> Interval:
    """The task's own metric, where only that is asked for; without resampling its interval is what counts alone tell."""
    answers = truth.answers(scores_NC)
    return METRICS[question.task.metric](answers, 1, 0)


def plain(interval: Interval) -> dict[str, float]:
    """A number and its interval for `details`."""
    return {name: significant(end) for name, end in zip(("value", "low", "high"), interval, strict=True)}
