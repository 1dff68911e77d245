"""What a classifier mistakes: the wrong answers it is surest of, and the pairs of classes it confuses most.

N = pictures, C = classes.
"""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 96
LOSSLESS_SIDE = 32


class Pair(NamedTuple):
    """`times` of the `of` pictures of class `label` were called `answer`; `example` is the surest of them."""

    label: int
    answer: int
    times: int
    of: int
    example: int


def confidence(scores_NC: NDArray[np.floating], scale: float) -> NDArray[np.float64]:
    """(N,): the probability that the model gives its answer; `scale` times the scores are logits."""
    logits_NC = scale * np.asarray(scores_NC, np.float64)
    shifted_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return np.asarray(1 / shifted_NC.sum(axis=1))


def surest_mistakes(
    labels_N: NDArray[np.int64], answers_N: NDArray[np.int64], confidence_N: NDArray[np.float64], most: int
) -> list[int]:
    """Positions of wrong answers, the surest first; equal ones in the list's order."""
    wrong = np.flatnonzero(labels_N != answers_N)
    return wrong[np.argsort(-np.round(confidence_N[wrong], 6), kind="stable")][:most].tolist()


def confused_pairs(
    labels_N: NDArray[np.int64],
    answers_N: NDArray[np.int64],
    confidence_N: NDArray[np.float64],
    classes: int,
    most: int,
) -> list[Pair]:
    """The cells beside the diagonal with the greatest counts."""
    counts_CC = np.zeros((classes, classes), np.int64)
    np.add.at(counts_CC, (labels_N, answers_N), 1)
    of_C = counts_CC.sum(axis=1)
    np.fill_diagonal(counts_CC, 0)
    cells = np.argsort(-counts_CC, axis=None, kind="stable")[:most]
    found = []
    for label, answer in zip(*np.unravel_index(cells, counts_CC.shape), strict=True):
        if not counts_CC[label, answer]:
            break
        among = np.flatnonzero((labels_N == label) & (answers_N == answer))
        surest = among[np.argmax(np.round(confidence_N[among], 6))]
        found.append(Pair(int(label), int(answer), int(counts_CC[label, answer]), int(of_C[label]), int(surest)))
    return found


def small_picture(pixels: NDArray[Any], side: int = SIDE) -> str:
    """A JPEG of at most `side` pixels as base64, to stand in plain JSON; pictures under 33 pixels as they are, in PNG."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    stored = io.BytesIO()
    if max(image.size) <= LOSSLESS_SIDE:
        image.save(stored, "PNG")
    else:
        image.save(stored, "JPEG", quality=80)
    return base64.b64encode(stored.getvalue()).decode("ascii")
