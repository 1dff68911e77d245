"""A metric of two models from what is kept of their answers: its two values, the difference and the test that fits it.

Accuracies and recalls of single pictures get McNemar's test; other means (over classes, folds, severities, and recalls of
captions, of which a picture has several) the test by swapped signs; areas and average precision, which are no means over pictures,
the test of exchanged models (exchanged.py), with the bootstrap's interval of the difference; calibration errors the paired
bootstrap. Draws: drawn.py. Rows are those of `report.OUTCOMES`. N = pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.statistics import ranked
from evaluation.statistics.calibration import binned_error, calibration_error, probabilities
from evaluation.statistics.exchanged import Ordered, exchanged_p
from evaluation.statistics.intervals import Interval, Statistic, apart, area_interval
from evaluation.statistics.metrics import of_classes, precision_interval
from evaluation.statistics.paired import Difference, mcnemar, paired_bootstrap, swapped_signs

RANKED = {"recall@1": 1, "recall@5": 5, "recall@10": 10}
"""Metric -> a query is right whose first match is below this rank."""
CLIP_SCALE = 100.0
IN_WORDS = "zero_shot"
"""The protocol whose scores are cosines, of which VOC's eleven points take the softmax; a probe's logits are ranked as they are."""
SEVERAL = "|"
RESAMPLES_OF_ENDS = 100
"""The intervals of single models, which are only looked at where no resample of the pair varies."""


@dataclass(frozen=True)
class Means:
    """A metric that is the mean of one number per picture, `values` (N,), or over groups (N,) of their means. Values of one of
    `clusters` (N,) are of one picture."""

    values: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None
    span: tuple[float, float] = (0.0, 1.0)
    clusters: NDArray[np.int64] | None = None

    @property
    def value(self) -> float:
        if self.groups is None:
            return float(self.values.mean())
        _, place_N, count_G = np.unique(self.groups, return_inverse=True, return_counts=True)
        return float((np.bincount(place_N, self.values) / count_G).mean())

    @property
    def counted(self) -> bool:
        """Whether it is a plain share of right answers that are independent of each other."""
        return self.groups is None and self.clusters is None and bool(np.isin(self.values, (0.0, 1.0)).all())


@dataclass(frozen=True)
class Resampled:
    """A metric that is a function of weights of the pictures, with the interval of its own."""

    statistic: Statistic
    interval: Interval
    ordered: tuple[Ordered, ...] = ()
    """Where it looks at the order of the pictures alone: what it is the mean of."""
    clusters: NDArray[np.int64] | None = None

    @property
    def value(self) -> float:
        return self.interval.value


Measured = Means | Resampled


def measured(metric: str, rows: pd.DataFrame, classes: Sequence[str]) -> Measured | None:
    """The metric of these rows; None where they do not hold what it needs. `classes` are the names of the columns of scores."""
    clusters = clusters_of(rows)
    if metric in ("top1", "top1_any") and _has(rows, "correct"):
        return Means(rows["correct"].to_numpy(np.float64), clusters=clusters)
    if metric == "mean_per_class" and _has(rows, "correct"):
        first = rows["label"].str.split(SEVERAL, n=1, regex=False).str[0]
        return Means(rows["correct"].to_numpy(np.float64), pd.factorize(first)[0], clusters=clusters)
    if metric == "fold_mean" and _has(rows, "group"):
        return Means(rows["correct"].to_numpy(np.float64), pd.factorize(rows["group"])[0], clusters=clusters)
    if metric in ("top5", "mean_top1_top5", *RANKED) and _has(rows, "rank"):
        rank = rows["rank"].to_numpy()
        if metric == "mean_top1_top5":
            return Means(((rank < 1) + 1.0 * (rank < 5)) / 2, clusters=clusters)
        if metric in RANKED and _has(rows, "group"):
            clusters = pd.factorize(rows["group"])[0]
        return Means(np.asarray(rank < RANKED.get(metric, 5), np.float64), clusters=clusters)
    if metric == "calibration_error" and _has(rows, "probability"):
        sure_N, right_N = rows["probability"].to_numpy(np.float64), rows["correct"].to_numpy(bool)
        alone = calibration_error(sure_N, right_N, RESAMPLES_OF_ENDS, 0, clusters=clusters)
        return Resampled(binned_error(sure_N, right_N), alone, clusters=clusters)
    return _of_scores(metric, rows, classes) if _has(rows, "scores") else None


def clusters_of(rows: pd.DataFrame) -> NDArray[np.int64] | None:
    """(N,) which pictures stand or fall together, None where nothing is known of that (or where an older report kept it)."""
    return pd.factorize(rows["cluster"])[0] if "cluster" in rows and _has(rows, "cluster") else None


def _has(rows: pd.DataFrame, column: str) -> bool:
    return not rows[column].isna().any()


def _of_scores(metric: str, rows: pd.DataFrame, classes: Sequence[str]) -> Measured | None:
    scores_NC = np.stack(rows["scores"].tolist()).astype(np.float64)
    words = np.array([set(label.split(SEVERAL)) for label in rows["label"]])
    right_NC = np.array([[name in own for name in classes] for own in words])
    if metric == "roc_auc" and len(classes) == 2 and 0 < right_NC[:, 1].sum() < len(rows):
        area = ranked.roc_auc(scores_NC[:, 1] - scores_NC[:, 0], right_NC[:, 1])
        counts = int(right_NC[:, 1].sum()), int((~right_NC[:, 1]).sum())
        interval = area_interval(float(area(np.ones((1, len(rows))))[0]), *counts)
        ordered = Ordered(ranked.roc_auc, scores_NC[:, 1:] - scores_NC[:, :1], right_NC[:, 1:])
        return Resampled(area, interval, (ordered,), clusters_of(rows))
    if metric in ("map", "map_11_point"):
        cosines = metric == "map_11_point" and bool((rows["protocol"] == IN_WORDS).all())
        own_NC = probabilities(CLIP_SCALE * scores_NC) if cosines else scores_NC
        of_one = ranked.eleven_point_precision if metric == "map_11_point" else ranked.average_precision
        there = np.flatnonzero(right_NC.any(axis=0))
        ignored_NC = _ignored(rows, classes)
        whole = ranked.mean_over_classes(of_classes(own_NC, right_NC, ignored_NC, of_one, there))
        interval = precision_interval(own_NC, right_NC, of_one, RESAMPLES_OF_ENDS, 0, ignored_NC)
        return Resampled(whole, interval, (Ordered(of_one, own_NC, right_NC, ignored_NC),), clusters_of(rows))
    return None


def _ignored(rows: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.bool_] | None:
    """(N, C) pairs that count neither way (VOC's difficult objects), None where there are none."""
    if not _has(rows, "group"):
        return None
    words = [set(group.split(SEVERAL)) for group in rows["group"]]
    return np.array([[name in own for name in classes] for own in words])


def difference(first: Measured, second: Measured, count: int, resamples: int, seed: int) -> Difference:
    """The difference, second minus first, of one metric on the same `count` pictures."""
    if isinstance(first, Means) and isinstance(second, Means):
        if first.counted and second.counted:
            return mcnemar(first.values > 0, second.values > 0)
        span = min(first.span[0], second.span[0]), max(first.span[1], second.span[1])
        return swapped_signs(first.values, second.values, resamples, seed, first.groups, span, first.clusters)
    assert isinstance(first, Resampled)
    assert isinstance(second, Resampled)
    unpaired = apart(first.interval, second.interval)
    clusters, of = first.clusters, " of clusters" if first.clusters is not None else ""
    found = paired_bootstrap(first.statistic, second.statistic, count, resamples, seed, unpaired, clusters)
    if not first.ordered or not second.ordered:
        return replace(found, test=found.test + of)
    p = exchanged_p(first.ordered, second.ordered, resamples, seed, clusters)
    return replace(found, p_value=p, test=f"models{of and ' by cluster'} exchanged, mid-p")


def split(first: Any, second: Any) -> tuple[int, int]:
    """How many pictures the first model alone answers right, or better, and the second alone."""
    return int((first > second).sum()), int((second > first).sum())
