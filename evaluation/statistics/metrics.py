"""Metrics of classification, by the name that a task's row gives; each gives a value with its 95 % interval.

N = pictures, C = classes. Which dataset is scored by which metric is part of the benchmark: CLIP takes the mean over
classes for Pets, Caltech, Flowers and Aircraft, eleven-point average precision for VOC 2007, the area under the ROC curve for
Hateful Memes, the mean of top-1 and top-5 for Kinetics, and plain accuracy for most others (arXiv:2103.00020, table 9).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics import ranked
from evaluation.statistics.intervals import Interval, Statistic, bootstrap, bootstrap_mean, wilson
from pipeline.errors import DataError


@dataclass(frozen=True)
class Answers:
    """What was asked and what was answered.

    labels        (N,) position of the right class, of the first one where `right` names several, -1 where there is none
    predictions   (N,) position of the class with the highest score
    scores        (N, C), needed by metrics that look further than the first answer
    right         (N, C), where a picture may have any number of right classes
    folds         (N,), where the benchmark predefines parts of its pictures whose scores are averaged
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    classes: int
    scores: NDArray[np.floating] | None = None
    right: NDArray[np.bool_] | None = None
    folds: NDArray[np.int64] | None = None

    @staticmethod
    def of(
        scores_NC: NDArray[np.floating],
        labels_N: NDArray[np.int64],
        right_NC: NDArray[np.bool_] | None = None,
        folds_N: NDArray[np.int64] | None = None,
    ) -> "Answers":
        return Answers(labels_N, scores_NC.argmax(axis=1), scores_NC.shape[1], scores_NC, right_NC, folds_N)

    @functools.cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the first answer is a right one."""
        if self.right is None:
            return self.labels == self.predictions
        return self.right[np.arange(len(self.labels)), self.predictions]

    @functools.cached_property
    def ranks(self) -> NDArray[np.int64]:
        """(N,) how many classes come before the right one (the first of several); 0 exactly where `correct`.

        Of equal scores the lower position comes first, as with argmax.
        """
        assert self.scores is not None
        right_NC = self.right if self.right is not None else np.eye(self.classes, dtype=bool)[self.labels]
        masked_NC = np.where(right_NC, self.scores, -np.inf)
        first_N1 = masked_NC.argmax(axis=1)[:, None]
        best_N1 = np.take_along_axis(masked_NC, first_N1, axis=1)
        before_NC = np.arange(self.classes) < first_N1
        return ((self.scores > best_N1) | ((self.scores == best_N1) & before_NC)).sum(axis=1)


Metric = Callable[[Answers, int, int], Interval]


def top1(answers: Answers, resamples: int, seed: int) -> Interval:
    """Share of pictures whose best class is a right one; Wilson interval."""
    return wilson(int(answers.correct.sum()), len(answers.labels))


def top5(answers: Answers, resamples: int, seed: int) -> Interval:
    """Share of pictures with a right class among the five best; Wilson interval."""
    return wilson(int((answers.ranks < 5).sum()), len(answers.labels))


def mean_top1_top5(answers: Answers, resamples: int, seed: int) -> Interval:
    """Mean of top-1 and top-5, as Kinetics is scored; bootstrap over pictures."""
    return bootstrap_mean(((answers.ranks < 1) * 0.5 + (answers.ranks < 5) * 0.5), resamples, seed)


def mean_per_class(answers: Answers, resamples: int, seed: int) -> Interval:
    """Accuracy per class, averaged over the classes that occur; bootstrap over pictures."""
    return bootstrap(class_mean(answers), len(answers.labels), resamples, seed)


def class_mean(answers: Answers) -> Statistic:
    """The mean over classes of a class's accuracy. A resample may miss a small class altogether: it then averages over the
    others, as a test set without it would."""
    return group_mean(answers.labels, answers.correct)


def group_mean(groups_N: NDArray[np.int64], correct_N: NDArray[np.bool_]) -> Statistic:
    """The mean over groups of a group's accuracy, by sums over sorted pictures: no one-hot matrix of N x C."""
    order = np.argsort(groups_N, kind="stable")
    starts = np.flatnonzero(np.diff(groups_N[order], prepend=-2))
    right_N = correct_N[order]

    def statistic(weights_RN: NDArray[np.float64]) -> NDArray[np.float64]:
        sorted_RN = weights_RN[:, order]
        seen_RG = np.add.reduceat(sorted_RN, starts, axis=1)
        right_RG = np.add.reduceat(sorted_RN * right_N, starts, axis=1)
        share_RG = np.divide(right_RG, seen_RG, out=np.zeros_like(right_RG), where=seen_RG > 0)
        mean_R: NDArray[np.float64] = share_RG.sum(axis=1) / (seen_RG > 0).sum(axis=1)
        return mean_R

    return statistic


def fold_mean(answers: Answers, resamples: int, seed: int) -> Interval:
    """Accuracy per predefined fold, averaged, as STL-10 is scored; equal to top1 where folds are of one size."""
    if answers.folds is None:
        raise DataError("metric fold_mean: its pictures have no column `fold`; use top1")
    return bootstrap(group_mean(answers.folds, answers.correct), len(answers.labels), resamples, seed)


def roc_auc(answers: Answers, resamples: int, seed: int) -> Interval:
    """Area under the ROC curve of the second class's score minus the first's; bootstrap over pictures."""
    return bootstrap(area(answers), len(answers.labels), resamples, seed)


def area(answers: Answers) -> Statistic:
    assert answers.scores is not None
    if answers.classes != 2:
        raise DataError(f"metric roc_auc is of two classes, and there are {answers.classes}; use top1")
    return ranked.roc_auc(answers.scores[:, 1] - answers.scores[:, 0], answers.labels == 1)


def mean_average_precision(answers: Answers, resamples: int, seed: int) -> Interval:
    """Mean over classes of the average precision at every threshold; bootstrap over pictures."""
    return bootstrap(class_precision(answers, ranked.average_precision), len(answers.labels), resamples, seed)


def map_11_point(answers: Answers, resamples: int, seed: int) -> Interval:
    """Mean over classes of the average precision at eleven points; bootstrap over pictures."""
    return bootstrap(class_precision(answers, ranked.eleven_point_precision), len(answers.labels), resamples, seed)


def class_precision(
    answers: Answers, of_one: Callable[[NDArray[np.floating], NDArray[np.bool_]], Statistic]
) -> Statistic:
    """The mean of `of_one` over the classes that at least one picture has."""
    assert answers.scores is not None
    right_NC = answers.right if answers.right is not None else np.eye(answers.classes, dtype=bool)[answers.labels]
    there = np.flatnonzero(right_NC.any(axis=0))
    return ranked.mean_over_classes([of_one(answers.scores[:, c], right_NC[:, c]) for c in there])


METRICS: dict[str, Metric] = {
    "top1": top1,
    "top1_any": top1,
    "mean_per_class": mean_per_class,
    "top5": top5,
    "mean_top1_top5": mean_top1_top5,
    "fold_mean": fold_mean,
    "roc_auc": roc_auc,
    "map_11_point": map_11_point,
    "map": mean_average_precision,
}
"""By the names that tasks' rows give. `top1_any`: of several labels of a picture any is right; `map...`: each on its own."""


def applicable(answers: Answers, asked: str) -> list[str]:
    """The metrics worth reporting of these answers: `asked`, which is the task's own, and what needs no choice."""
    names = ["top1", "mean_per_class"] if answers.right is None else ["top1_any"]
    if answers.scores is not None and answers.classes > 5:
        names.append("top5")
    if answers.scores is not None and answers.classes == 2:
        names.append("roc_auc")
    if answers.folds is not None:
        names.append("fold_mean")
    return names if asked in names or asked not in METRICS else [*names, asked]


def confusion(answers: Answers) -> NDArray[np.int64]:
    """Counts, shape (C, C): row = the right class, column = the answer."""
    counts_CC = np.zeros((answers.classes, answers.classes), np.int64)
    np.add.at(counts_CC, (answers.labels, answers.predictions), 1)
    return counts_CC
