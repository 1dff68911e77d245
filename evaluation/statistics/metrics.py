"""Metrics of classification, by the name that a task's row gives; each gives a value with its 95 % interval.

N = pictures, C = classes. Which dataset is scored by which metric is part of the benchmark: CLIP takes the mean over
classes for Pets, Caltech, Flowers and Aircraft, and plain accuracy for most others (arXiv:2103.00020, table 9).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.intervals import Interval, percentiles, resample_weights, wilson


@dataclass(frozen=True)
class Answers:
    """What was asked and what was answered: positions of classes, both of shape (N,)."""

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    classes: int

    @property
    def correct(self) -> NDArray[np.bool_]:
        return self.labels == self.predictions


def top1(answers: Answers, resamples: int, seed: int) -> Interval:
    """Share of pictures whose best class is the right one; Wilson interval."""
    return wilson(int(answers.correct.sum()), len(answers.labels))


def mean_per_class(answers: Answers, resamples: int, seed: int) -> Interval:
    """Accuracy per class, averaged over the classes that occur; bootstrap over pictures."""
    member_NC = np.eye(answers.classes)[answers.labels]
    weights_RN = np.vstack([np.ones(len(answers.labels)), resample_weights(len(answers.labels), resamples, seed)])
    seen_RC = weights_RN @ member_NC
    right_RC = weights_RN @ (member_NC * answers.correct[:, None])
    # A resample may miss a small class altogether: it then averages over the others, as a test set without it would.
    share_RC = np.divide(right_RC, seen_RC, out=np.full_like(right_RC, np.nan), where=seen_RC > 0)
    value_R = np.nanmean(share_RC, axis=1)
    return Interval(float(value_R[0]), *percentiles(value_R[1:]))


METRICS: dict[str, Callable[[Answers, int, int], Interval]] = {"top1": top1, "mean_per_class": mean_per_class}


def confusion(answers: Answers) -> NDArray[np.int64]:
    """Counts, shape (C, C): row = the right class, column = the answer."""
    counts_CC = np.zeros((answers.classes, answers.classes), np.int64)
    np.add.at(counts_CC, (answers.labels, answers.predictions), 1)
    return counts_CC
