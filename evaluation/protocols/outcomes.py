"""The outcome of every picture as rows of a table: what paired tests, calibration and pages of mistakes are made from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.pictures.clusters import CLUSTER
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.protocol import Findings
from evaluation.protocols.ranks import BEST, largest
from evaluation.protocols.truth import Truth
from evaluation.protocols.zero_shot_classifier import margins
from evaluation.report import OUTCOMES
from evaluation.statistics.calibration import probability
from evaluation.statistics.metrics import CHUNK_NUMBERS, Answers, right_rows

SEVERAL = "|"
"""Between the labels of a picture that has several."""
ID = "id"
"""Column of pictures that have names of their own; others are called by their position."""


def _clusters(pictures: Pictures, positions_N: NDArray[np.int64]) -> dict[str, list[str]]:
    """Column `cluster`, where it is known which pictures stand or fall together."""
    words = pictures.columns.get(CLUSTER)
    return {} if words is None else {CLUSTER: [str(words[index]) for index in positions_N]}


def name_of(pictures: Pictures, positions_N: NDArray[np.int64]) -> list[str]:
    names = pictures.columns.get(ID)
    return [str(names[index]) if names else str(index) for index in positions_N]


def add_rows(findings: Findings, variant: str, columns: Mapping[str, Any]) -> None:
    """Append rows; columns that are not given are null."""
    count = len(columns["index"])
    fixed = {"task": findings.task, "protocol": findings.protocol, "variant": variant}
    whole = {name: columns.get(name, [fixed.get(name)] * count) for name in OUTCOMES.names}
    findings.outcomes.append(pa.table(whole, schema=OUTCOMES))


def add_classified_rows(
    findings: Findings,
    pictures: Pictures,
    variant: str,
    truth: Truth,
    answers: Answers,
    classes: list[str],
    scale: float | None,
    best: bool = True,
) -> None:
    """A row per picture asked about. `scale` makes logits of the scores, None says that they are probabilities; the whole rows of
    scores are kept only where a metric cannot be had from the ranks: two classes, or any number of labels. `best`: with the best
    five answers.

    Works on some rows of the scores at a time: beside them nothing of shape (N, C) is made.
    """
    assert answers.scores is not None
    right_NC, labels_N = truth.right, truth.labels
    words, count = np.array(classes), len(labels_N)
    columns: dict[str, list[Any]] = {"label": [], "margin": [], "probability": [], "top5": [], "scores": []}
    step = max(1, CHUNK_NUMBERS // len(classes))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        scores_nC = answers.scores[rows]
        right_nC = right_rows(labels_N[rows], right_NC, rows, len(classes))
        probability_nC = probability(scores_nC, scale)
        columns["label"] += [SEVERAL.join(words[row]) for row in right_nC]
        columns["probability"].append(
            np.take_along_axis(probability_nC, answers.predictions[rows][:, None], axis=1)[:, 0]
        )
        columns["margin"].append(margins(scores_nC, labels_N[rows], right_nC))
        if best:
            columns["top5"] += [words[row].tolist() for row in largest(scores_nC, min(BEST, len(classes)))]
        if right_NC is not None or len(classes) == 2:
            columns["scores"] += list(np.round(scores_nC, 6).astype(np.float32))
    whole = {name: np.concatenate(columns.pop(name)) for name in ("margin", "probability")}
    add_rows(
        findings,
        variant,
        {
            "index": truth.asked.astype(np.int32),
            "id": name_of(pictures, truth.asked),
            "prediction": words[answers.predictions],
            "correct": answers.correct,
            "rank": answers.ranks.astype(np.int32),
        }
        # Rounded, because the last bits tell of the machine and not of the model.
        | {name: np.round(values_N, 4).astype(np.float32) for name, values_N in whole.items()}
        | {name: values for name, values in columns.items() if values}
        | _clusters(pictures, truth.asked)
        | ({} if truth.folds is None else {"group": [str(fold) for fold in truth.folds]})
        | ({} if truth.ignored is None else {"group": [SEVERAL.join(words[row]) for row in truth.ignored]}),
    )


def add_answered_rows(
    findings: Findings,
    pictures: Pictures,
    variant: str,
    labels: Sequence[str],
    answers: Sequence[str],
    asked_N: NDArray[np.int64] | None = None,
    **columns: Any,
) -> None:
    """A row per picture of which only label and answer are known; `columns` may add to them, or say otherwise."""
    asked_N = np.arange(pictures.count) if asked_N is None else asked_N
    answered = {
        "index": asked_N.astype(np.int32),
        "id": name_of(pictures, asked_N),
        "label": list(labels),
        "prediction": list(answers),
        "correct": [answer == label for answer, label in zip(answers, labels, strict=True)],
    }
    add_rows(findings, variant, answered | _clusters(pictures, asked_N) | columns)


def add_value_rows(
    findings: Findings,
    pictures: Pictures,
    variant: str,
    values_N: NDArray[np.floating],
    labels: Sequence[str],
    asked_N: NDArray[np.int64] | None = None,
) -> None:
    """A row per picture with its term of a mean; `variant` is "metric/variant" of the score that is this mean."""
    asked_N = np.arange(pictures.count) if asked_N is None else asked_N
    rows = {"index": asked_N.astype(np.int32), "value": np.asarray(values_N, np.float32)}
    named = {"id": name_of(pictures, asked_N), "label": list(labels)}
    add_rows(findings, variant, rows | named | _clusters(pictures, asked_N))


def asked_of(findings: Findings, **lists: str) -> None:
    """Of which lists of pictures the outcomes are: `identity` of most, by the variant's name of others."""
    findings.details["pictures"] = findings.details.get("pictures", {}) | lists
