"""A metric of two models from the outcomes of their pictures: its two values, the difference and the test that fits it.

Proportions get McNemar's test; other means over pictures (mean per class, top-1 and top-5) the test by swapped signs; areas and
average precision, which are no means over pictures, the paired bootstrap. Outcomes are rows of `report.OUTCOMES`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.statistics import ranked
from evaluation.statistics.calibration import probabilities
from evaluation.statistics.intervals import Statistic
from evaluation.statistics.paired import Difference, mcnemar, paired_bootstrap, swapped_signs

RANKED = {"recall@1": 1, "recall@5": 5, "recall@10": 10}
"""Metric -> a query is right whose first match is below this rank."""
DEPTHS = {"top1": 1, "top1_any": 1, "top5": 5, **RANKED}
CLIP_SCALE = 100.0
SEVERAL = "|"


def values_of(metric: str, rows: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64] | Statistic | None:
    """Each picture's share of the metric, (N,) adding up to it, or a statistic of weights; None where outcomes lack it."""
    count = len(rows)
    if metric in DEPTHS:
        rank = rows["rank"].to_numpy()
        return np.asarray((rank < DEPTHS[metric]) / count, np.float64)
    if metric == "mean_top1_top5":
        rank = rows["rank"].to_numpy()
        return np.asarray(((rank < 1) + 1.0 * (rank < 5)) / (2 * count), np.float64)
    if metric == "mean_per_class":
        sizes = rows["label"].map(rows["label"].value_counts()).to_numpy()
        return np.asarray(rows["correct"].to_numpy(bool) / (sizes * rows["label"].nunique()), np.float64)
    if rows["scores"].isna().any():
        return None
    scores_NC = np.stack(rows["scores"].tolist()).astype(np.float64)
    words = np.array([set(label.split(SEVERAL)) for label in rows["label"]])
    right_NC = np.array([[name in own for name in classes] for own in words])
    if metric == "roc_auc":
        return ranked.roc_auc(scores_NC[:, 1] - scores_NC[:, 0], right_NC[:, 1]) if len(classes) == 2 else None
    if metric in ("map", "map_11_point"):
        own_NC = probabilities(CLIP_SCALE * scores_NC) if metric == "map_11_point" else scores_NC
        of_one = ranked.eleven_point_precision if metric == "map_11_point" else ranked.average_precision
        there = np.flatnonzero(right_NC.any(axis=0))
        return ranked.mean_over_classes([of_one(own_NC[:, c], right_NC[:, c]) for c in there])
    return None


def difference_of(
    metric: str, one: pd.DataFrame, other: pd.DataFrame, classes: Sequence[str], resamples: int, seed: int
) -> tuple[Difference, tuple[float, float]]:
    """The difference, second minus first, and both values. `classes` are the names of the columns of scores."""
    first, second = values_of(metric, one, classes), values_of(metric, other, classes)
    if callable(first) and callable(second):
        ones = np.ones((1, len(one)))
        found = paired_bootstrap(first, second, len(one), resamples, seed)
        return found, (float(first(ones)[0]), float(second(ones)[0]))
    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    values = (float(first.sum()), float(second.sum()))
    if metric in DEPTHS:
        return mcnemar(first > 0, second > 0), values
    return swapped_signs(second - first, resamples, seed), values
