"""Metrics of an ordering: area under the ROC curve, average precision of every threshold and of eleven points.

All are functions of weights (R, N), so that a bootstrap is array arithmetic and no loop over resamples. Equal scores are one
threshold: the order in which a file lists its pictures changes nothing. R = resamples, N = pictures, G = distinct scores.

Hateful Memes is scored by the area, VOC 2007 by eleven points (Everingham et al. 2010, section 4.2) in CLIP's table 9;
scikit-learn's and CLIP_benchmark's average precision is the sum over all thresholds.
"""

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.intervals import Statistic

POINTS = 11


def roc_auc(scores_N: NDArray[np.floating], right_N: NDArray[np.bool_]) -> Statistic:
    """Share of (right, wrong) pairs in which the right picture has the higher score, ties by half (Mann and Whitney 1947)."""
    order, starts = _thresholds(scores_N)
    right = right_N[order]

    def statistic(weights_RN: NDArray[np.float64]) -> NDArray[np.float64]:
        sorted_RN = weights_RN[:, order]
        right_RG = np.add.reduceat(sorted_RN * right, starts, axis=1)
        wrong_RG = np.add.reduceat(sorted_RN * ~right, starts, axis=1)
        below_RG = wrong_RG.sum(axis=1, keepdims=True) - wrong_RG.cumsum(axis=1)
        won = (right_RG * (below_RG + wrong_RG / 2)).sum(axis=1)
        return _share(won, right_RG.sum(axis=1) * wrong_RG.sum(axis=1))

    return statistic


def average_precision(scores_N: NDArray[np.floating], right_N: NDArray[np.bool_]) -> Statistic:
    """Sum over thresholds of precision times the gain in recall, as sklearn.metrics.average_precision_score."""
    order, starts = _thresholds(scores_N)
    right = right_N[order]

    def statistic(weights_RN: NDArray[np.float64]) -> NDArray[np.float64]:
        found_RG, taken_RG = _counts(weights_RN[:, order], right, starts)
        gained_RG = np.diff(found_RG, axis=1, prepend=0)
        precision_RG = np.divide(found_RG, taken_RG, out=np.zeros_like(found_RG), where=taken_RG > 0)
        return _share((precision_RG * gained_RG).sum(axis=1), found_RG[:, -1])

    return statistic


def eleven_point_precision(scores_N: NDArray[np.floating], right_N: NDArray[np.bool_]) -> Statistic:
    """Mean over recall 0, 0.1, ..., 1 of the best precision at that recall or a higher one."""
    order, starts = _thresholds(scores_N)
    right = right_N[order]
    # Precision is highest where something was found, so the other thresholds need not be looked at.
    finds = np.add.reduceat(right, starts) > 0

    def statistic(weights_RN: NDArray[np.float64]) -> NDArray[np.float64]:
        found_RG, taken_RG = (each[:, finds] for each in _counts(weights_RN[:, order], right, starts))
        if not found_RG.shape[1]:
            return np.full(len(weights_RN), np.nan)
        total_R = found_RG[:, -1]
        precision_RG = np.divide(found_RG, taken_RG, out=np.zeros_like(found_RG), where=taken_RG > 0)
        best_RG = np.maximum.accumulate(precision_RG[:, ::-1], axis=1)[:, ::-1]
        rows = np.arange(len(weights_RN))
        # In whole numbers: 3 of 10 is a recall of 0.3, which 3 * 0.1 in floating point is not.
        at = [(found_RG * (POINTS - 1) < point * total_R[:, None]).sum(axis=1) for point in range(POINTS)]
        value_R = np.mean([best_RG[rows, np.minimum(place, best_RG.shape[1] - 1)] for place in at], axis=0)
        return np.where(total_R > 0, value_R, np.nan)

    return statistic


def mean_over_classes(statistics: list[Statistic]) -> Statistic:
    """The mean of one statistic per class; a class that a resample lacks is left out of that resample's mean."""

    def statistic(weights_RN: NDArray[np.float64]) -> NDArray[np.float64]:
        values_CR = np.stack([each(weights_RN) for each in statistics])
        there_CR = ~np.isnan(values_CR)
        return _share(np.where(there_CR, values_CR, 0).sum(axis=0), there_CR.sum(axis=0).astype(np.float64))

    return statistic


def _thresholds(scores_N: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order from the highest score down, and where in it each distinct score begins."""
    order = np.argsort(-scores_N, kind="stable")
    falling = scores_N[order]
    return order, np.concatenate([[0], np.flatnonzero(falling[1:] != falling[:-1]) + 1])


def _counts(
    sorted_RN: NDArray[np.float64], right_N: NDArray[np.bool_], starts_G: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right pictures and pictures at each threshold or above, both (R, G)."""
    ends_G = np.append(starts_G[1:], len(right_N)) - 1
    return (sorted_RN * right_N).cumsum(axis=1)[:, ends_G], sorted_RN.cumsum(axis=1)[:, ends_G]


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
