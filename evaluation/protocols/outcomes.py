"""The outcome of every picture as rows of a table: what paired tests, calibration and pages of mistakes are made from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.pictures.pictures import Pictures
from evaluation.protocols.protocol import Findings
from evaluation.protocols.ranks import BEST, largest
from evaluation.protocols.truth import Truth
from evaluation.protocols.zero_shot_classifier import margins
from evaluation.report import OUTCOMES
from evaluation.statistics.calibration import probabilities
from evaluation.statistics.metrics import Answers

SEVERAL = "|"
"""Between the labels of a picture that has several."""
ID = "id"
"""Column of pictures that have names of their own; others are called by their position."""


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
    scale: float,
) -> None:
    """A row per picture asked about. `scale` makes logits of the scores; the whole rows of scores are kept only where a
    metric cannot be had from the ranks: two classes, or any number of labels."""
    assert answers.scores is not None
    scores_NC = answers.scores
    words = np.array(classes)
    best_NK = largest(scores_NC, min(BEST, len(classes)))
    right_NC, labels_N = truth.right, truth.labels
    several = right_NC is not None
    spoken = [SEVERAL.join(words[row]) for row in right_NC] if right_NC is not None else words[labels_N].tolist()
    probability_N = np.take_along_axis(probabilities(scores_NC * scale), answers.predictions[:, None], axis=1)[:, 0]
    add_rows(
        findings,
        variant,
        {
            "index": truth.asked.astype(np.int32),
            "id": name_of(pictures, truth.asked),
            "label": spoken,
            "prediction": words[answers.predictions],
            "correct": answers.correct,
            "rank": answers.ranks.astype(np.int32),
            # Rounded, because the last bits tell of the machine and not of the model.
            "margin": np.round(margins(scores_NC, labels_N, right_NC), 4).astype(np.float32),
            "probability": np.round(probability_N, 4).astype(np.float32),
            "top5": [words[row].tolist() for row in best_NK],
            "scores": list(np.round(scores_NC, 6).astype(np.float32))
            if several or len(classes) == 2
            else [None] * len(labels_N),
        },
    )
