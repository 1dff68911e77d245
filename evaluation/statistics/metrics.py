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
from evaluation.statistics.clustered import means_interval, share_interval
from evaluation.statistics.intervals import (
    Interval,
    Statistic,
    area_interval,
    bootstrap,
    joined,
    score_ends,
    wider,
)
from pipeline.errors import DataError

CHUNK_NUMBERS = 1 << 18


@dataclass(frozen=True)
class Answers:
    """What was asked and what was answered.

    labels        (N,) position of the right class, of the first one where `right` names several, -1 where there is none
    predictions   (N,) position of the class with the highest score
    scores        (N, C), needed by metrics that look further than the first answer
    right         (N, C), where a picture may have any number of right classes
    folds         (N,), where the benchmark predefines parts of its pictures whose scores are averaged
    ignored       (N, C), where a picture counts neither for a class nor against it (VOC's difficult objects)
    clusters      (N,), where pictures are answered right or wrong together (clips of one video)
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    classes: int
    scores: NDArray[np.floating] | None = None
    right: NDArray[np.bool_] | None = None
    folds: NDArray[np.int64] | None = None
    ignored: NDArray[np.bool_] | None = None
    clusters: NDArray[np.int64] | None = None

    @staticmethod
    def of(
        scores_NC: NDArray[np.floating],
        labels_N: NDArray[np.int64],
        right_NC: NDArray[np.bool_] | None = None,
        folds_N: NDArray[np.int64] | None = None,
        ignored_NC: NDArray[np.bool_] | None = None,
        clusters_N: NDArray[np.int64] | None = None,
    ) -> "Answers":
        answered = labels_N, scores_NC.argmax(axis=1), scores_NC.shape[1], scores_NC
        return Answers(*answered, right_NC, folds_N, ignored_NC, clusters_N)

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
        step = max(1, CHUNK_NUMBERS // self.classes)  # masks of all rows at once would be several times the scores
        found_N = np.zeros(len(self.labels), np.int64)
        for start in range(0, len(found_N), step):
            rows = slice(start, start + step)
            found_N[rows] = _ranks(self.scores[rows], right_rows(self.labels[rows], self.right, rows, self.classes))
        return found_N


def right_rows(
    labels_N: NDArray[np.int64], right_NC: NDArray[np.bool_] | None, rows: slice, classes: int
) -> NDArray[np.bool_]:
    """(n, C) which classes are right for some rows of (N, C), or for these labels where each picture has one."""
    return right_NC[rows] if right_NC is not None else np.eye(classes, dtype=bool)[labels_N]


def _ranks(scores_NC: NDArray[np.floating], right_NC: NDArray[np.bool_]) -> NDArray[np.int64]:
    masked_NC = np.where(right_NC, scores_NC, -np.inf)
    first_N1 = masked_NC.argmax(axis=1)[:, None]
    best_N1 = np.take_along_axis(masked_NC, first_N1, axis=1)
    before_NC = np.arange(scores_NC.shape[1]) < first_N1
    return np.asarray(((scores_NC > best_N1) | ((scores_NC == best_N1) & before_NC)).sum(axis=1))


Metric = Callable[[Answers, int, int], Interval]


def top1(answers: Answers, resamples: int, seed: int) -> Interval:
    """Share of pictures whose best class is a right one; Wilson interval."""
    return share_interval(answers.correct, answers.clusters)


def top5(answers: Answers, resamples: int, seed: int) -> Interval:
    """Share of pictures with a right class among the five best; Wilson interval."""
    return share_interval(answers.ranks < 5, answers.clusters)


def mean_top1_top5(answers: Answers, resamples: int, seed: int) -> Interval:
    """Mean of top-1 and top-5, as Kinetics is scored."""
    return means_interval((answers.ranks < 1) * 0.5 + (answers.ranks < 5) * 0.5, clusters=answers.clusters)


def mean_per_class(answers: Answers, resamples: int, seed: int) -> Interval:
    """Accuracy per class, averaged over the classes that occur; Wilson interval of as many pictures as scatter like it."""
    return means_interval(answers.correct, answers.labels, answers.clusters)


def fold_mean(answers: Answers, resamples: int, seed: int) -> Interval:
    """Accuracy per predefined fold, averaged, as STL-10 is scored; equal to top1 where folds are of one size."""
    if answers.folds is None:
        raise DataError("metric fold_mean: its pictures have no column `fold`; use top1")
    return means_interval(answers.correct, answers.folds, answers.clusters)


def roc_auc(answers: Answers, resamples: int, seed: int) -> Interval:
    """Area under the ROC curve of the second class's score minus the first's; Newcombe's interval."""
    assert answers.scores is not None
    if answers.classes != 2:
        raise DataError(f"metric roc_auc is of two classes, and there are {answers.classes}; use top1")
    right_N = answers.labels == 1
    if right_N.all() or not right_N.any():
        raise DataError("metric roc_auc: all pictures are of one class, so there is nothing to tell apart; use top1")
    area = ranked.roc_auc(answers.scores[:, 1] - answers.scores[:, 0], right_N)
    value = float(area(np.ones((1, len(right_N))))[0])
    alone = area_interval(value, _counted(right_N, answers.clusters), _counted(~right_N, answers.clusters))
    if answers.clusters is None:
        return alone
    return wider(alone, bootstrap(area, len(right_N), resamples, seed, clusters=answers.clusters))


def mean_average_precision(answers: Answers, resamples: int, seed: int) -> Interval:
    """Mean over classes of the average precision at every threshold."""
    return _precision(answers, ranked.average_precision, resamples, seed)


def map_11_point(answers: Answers, resamples: int, seed: int) -> Interval:
    """Mean over classes of the average precision at eleven points."""
    return _precision(answers, ranked.eleven_point_precision, resamples, seed)


OfOne = Callable[[NDArray[np.floating], NDArray[np.bool_]], Statistic]


def _precision(answers: Answers, of_one: OfOne, resamples: int, seed: int) -> Interval:
    """Bootstrap over pictures, but not narrower than a class's right pictures allow: Wilson's interval of the precision as if
    it were a share of them (Boyd, Eng and Page 2013, ECML PKDD, "binomial"). Where all come first, no resample varies."""
    assert answers.scores is not None
    right_NC = answers.right if answers.right is not None else np.eye(answers.classes, dtype=bool)[answers.labels]
    return precision_interval(answers.scores, right_NC, of_one, resamples, seed, answers.ignored, answers.clusters)


def precision_interval(
    scores_NC: NDArray[np.floating],
    right_NC: NDArray[np.bool_],
    of_one: OfOne,
    resamples: int,
    seed: int,
    ignored_NC: NDArray[np.bool_] | None = None,
    clusters_N: NDArray[np.int64] | None = None,
) -> Interval:
    """As `mean_average_precision`, of scores, right classes and pairs that count neither way (N, C)."""
    there = np.flatnonzero(right_NC.any(axis=0))
    each, ones = of_classes(scores_NC, right_NC, ignored_NC, of_one, there), np.ones((1, len(scores_NC)))
    mean = ranked.mean_over_classes(each)
    found = bootstrap(mean, len(scores_NC), resamples, seed, clusters=clusters_N, less_bias=True)
    counts = [_counted(right_NC[:, c], clusters_N) for c in there]
    alone = [mean_share(float(one(ones)[0]), count) for one, count in zip(each, counts, strict=True)]
    whole = wider(found, joined(alone))
    return Interval(whole.value, max(0.0, whole.low), min(1.0, whole.high))  # moving by the bias leaves what can be


def _counted(right_N: NDArray[np.bool_], clusters_N: NDArray[np.int64] | None) -> int:
    """How many pictures there are of them, or clusters that have one."""
    return int(right_N.sum()) if clusters_N is None else len(np.unique(clusters_N[right_N]))


def of_classes(
    scores_NC: NDArray[np.floating],
    right_NC: NDArray[np.bool_],
    ignored_NC: NDArray[np.bool_] | None,
    of_one: OfOne,
    there: NDArray[np.int64],
) -> list[Statistic]:
    """`of_one` of each of the classes `there`, each without the pictures that it ignores."""
    if ignored_NC is None:
        return [of_one(scores_NC[:, c], right_NC[:, c]) for c in there]
    kept = [np.flatnonzero(~ignored_NC[:, c]) for c in there]
    return [_of_some(of_one(scores_NC[at, c], right_NC[at, c]), at) for at, c in zip(kept, there, strict=True)]


def _of_some(statistic: Statistic, kept: NDArray[np.int64]) -> Statistic:
    """`statistic` of the pictures at `kept` alone, from the weights of all."""
    return lambda weights_RN: statistic(weights_RN[:, kept])


def mean_share(share: float, trials: int) -> Interval:
    """Wilson's interval of a share that is no count over `trials`."""
    low, high = score_ends(np.array([share]), np.array([float(trials)]))
    return Interval(share, float(low[0]), float(high[0]))


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
EACH_ALONE = ("map_11_point", "map")
"""Metrics by which pictures are ranked for each class alone: one without a label is asked about, too."""


def applicable(answers: Answers, asked: str) -> list[str]:
    """The metrics worth reporting of these answers: `asked`, which is the task's own, and what needs no choice."""
    names = ["top1", "mean_per_class"] if answers.right is None else ["top1_any"]
    if answers.scores is not None and answers.classes > 5:
        names.append("top5")
    if answers.scores is not None and answers.classes == 2 and len(np.unique(answers.labels)) == 2:
        names.append("roc_auc")
    if answers.folds is not None:
        names.append("fold_mean")
    return names if asked in names or asked not in METRICS else [*names, asked]


def confusion(answers: Answers) -> NDArray[np.int64]:
    """Counts, shape (C, C): row = the right class, column = the answer."""
    counts_CC = np.zeros((answers.classes, answers.classes), np.int64)
    np.add.at(counts_CC, (answers.labels, answers.predictions), 1)
    return counts_CC
