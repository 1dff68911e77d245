"""Means of answers that stand or fall together: five captions of one picture, the clips of one video, the frames of one film.

Interval: totals per cluster give the variance of a ratio (Cochran 1977, "Sampling Techniques", section 9A.4), it tells how many
independent answers would scatter as much, and Wilson's interval of so many is taken (Rao and Scott 1992, Biometrics 48:577; for
proportions in surveys Korn and Graubard 1998, Survey Methodology 24:193). A mean over groups (classes) is a sum of such ratios:
each answer's share of it is added up by cluster, whether its cluster lies in one group or in several (Taylor's linearisation).
So it is of answers that are each a cluster of their own: Wilson's intervals of many small groups are each off centre, which adds
up faster than their widths, joined as squares, do (100 classes of 33 at 0.9: 8 % instead of 5 % miss; 500 of 4: 13 %).
infra/benchmarks/caption_clusters.py measures what it covers beside the interval that forgets the clusters.

N = answers, G = clusters, K = groups.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.statistics.intervals import CONFIDENCE, Interval, mean_interval, score_ends, wilson


def clustered_interval(
    values: ArrayLike,
    clusters: ArrayLike,
    span: tuple[float, float] = (0.0, 1.0),
    confidence: float = CONFIDENCE,
    groups: ArrayLike | None = None,
) -> Interval:
    """Interval of the mean of values (N,) in `span`, of which those with an equal entry in `clusters` (N,) belong together;
    with `groups` (N,) of the mean over groups of their means.

    One cluster of mean size at either end of the span, shared by all groups, is added when the scatter is estimated, so that
    equal values do not pass for certainty; with clusters of one answer each and no groups it is `intervals.mean_interval`.
    Raises ValueError for no values.
    """
    low_end, high_end = span
    share_N = (np.asarray(values, np.float64) - low_end) / (high_end - low_end)
    mean, independent = _as_independent(share_N, np.asarray(clusters), groups)
    low, high = score_ends(np.array([mean]), np.array([independent]), confidence)
    return Interval(*(low_end + end * (high_end - low_end) for end in (mean, float(low[0]), float(high[0]))))


def _as_independent(
    share_N: NDArray[np.float64], clusters_N: NDArray[np.generic], groups: ArrayLike | None
) -> tuple[float, float]:
    """The mean, and how many independent answers would scatter as it does."""
    count = len(share_N)
    if not count:
        raise ValueError("the mean of nothing has no interval")
    _, cluster_N = np.unique(clusters_N, return_inverse=True)
    _, group_N, count_K = np.unique(
        np.zeros(count) if groups is None else np.asarray(groups), return_inverse=True, return_counts=True
    )
    # Clusters that a group has a part of, and their mean size there.
    pairs = np.unique(cluster_N * len(count_K) + group_N)
    clusters_K = np.bincount(pairs % len(count_K), minlength=len(count_K))
    usual_K, end = count_K / clusters_K, 1 / len(count_K)
    sum_K = np.bincount(group_N, share_N)
    more_K = (sum_K + end * usual_K) / (count_K + 2 * end * usual_K)
    weight_K = 1 / (len(count_K) * np.sqrt(count_K * (count_K + 2 * end * usual_K)))
    if groups is not None:  # a group's few clusters scatter about its own mean less than about the true one
        weight_K *= np.sqrt(np.maximum(1.0, clusters_K / np.maximum(clusters_K - 1, 1)))
    # A group's only cluster says nothing of how such clusters scatter: it is seen from the mean of all groups (collapsed strata).
    centre_K = np.where((clusters_K == 1) & (len(count_K) > 1), more_K.mean(), more_K)
    total_G = np.bincount(cluster_N, weight_K[group_N] * (share_N - centre_K[group_N]))
    added_K = end * (weight_K * usual_K) ** 2 * (more_K**2 + (1 - more_K) ** 2)
    variance, more = float((total_G**2).sum() + added_K.sum()), float(more_K.mean())
    return min(1.0, float((sum_K / count_K).mean())), more * (1 - more) / variance


def independent_count(values: ArrayLike, clusters: ArrayLike | None) -> int:
    """How many independent answers right or wrong would scatter as these (N,) do, N where there are no clusters; at least 1."""
    share_N = np.asarray(values, np.float64)
    if clusters is None:
        return len(share_N)
    return min(len(share_N), max(1, round(_as_independent(share_N, np.asarray(clusters), None)[1])))


def share_interval(right: ArrayLike, clusters: ArrayLike | None) -> Interval:
    """Of the share of right answers (N,): Wilson's, by cluster where there are some."""
    right_N = np.asarray(right, bool)
    return wilson(int(right_N.sum()), len(right_N)) if clusters is None else clustered_interval(right_N, clusters)


def means_interval(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    span: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Of a mean, or a mean over groups, by cluster where there are some."""
    if clusters is None and groups is None:
        return mean_interval(values, span)
    each = np.arange(len(np.asarray(values))) if clusters is None else clusters
    return clustered_interval(values, each, span, groups=groups)
