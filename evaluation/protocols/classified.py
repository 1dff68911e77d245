"""From scores per class to what a report says of them: every metric, the confusion matrix and the outcome of each picture."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Prompts
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.zero_shot_classifier import Rows, margins
from evaluation.report import OUTCOMES
from evaluation.statistics.metrics import METRICS, Answers, confusion
from pipeline.errors import DataError


def label_positions(pictures: Pictures, label: str, prompts: Prompts) -> NDArray[np.int64]:
    """Position of each picture's class in the prompts. Raises DataError for a class that has no name there."""
    place = {name: position for position, name in enumerate(prompts.classes)}
    unknown = sorted(set(pictures.column(label)) - set(place))
    if unknown:
        raise DataError(f"{pictures.name}: class '{unknown[0]}' has no prompts; add it to the task's prompt file")
    return np.array([place[word] for word in pictures.column(label)], np.int64)


def add_classified(
    findings: Findings, question: Question, variant: str, labels_N: NDArray[np.int64], scores_NC: Rows
) -> None:
    """Scores by every metric; `details` gets "classes" and "confusion"; `outcomes` a row per picture."""
    assert question.prompts is not None
    classes = np.array(list(question.prompts.classes))
    answers = Answers(labels_N, scores_NC.argmax(axis=1), len(classes))
    for metric, measure in METRICS.items():
        interval = measure(answers, question.config.bootstrap_resamples, question.config.seed)
        findings.add(metric, variant, interval, len(labels_N))
    findings.details["classes"] = classes.tolist()
    findings.details["confusion"] = confusion(answers).tolist()
    count = len(labels_N)
    columns: dict[str, Any] = {
        "task": [findings.task] * count,
        "protocol": [findings.protocol] * count,
        "variant": [variant] * count,
        "index": np.arange(count, dtype=np.int32),
        "label": classes[labels_N],
        "prediction": classes[answers.predictions],
        "correct": answers.correct,
        # Rounded, because the last bits of a margin tell of the machine and not of the model.
        "margin": np.round(margins(scores_NC, labels_N), 4).astype(np.float32),
    }
    findings.outcomes.append(pa.table(columns, schema=OUTCOMES))


def metric_value(question: Question, labels_N: NDArray[np.int64], predictions_N: NDArray[np.int64]) -> float:
    """The task's own metric, where only the value is asked for."""
    assert question.prompts is not None
    return METRICS[question.task.metric](Answers(labels_N, predictions_N, len(question.prompts.classes)), 1, 0).value
