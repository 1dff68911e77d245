"""Means of answers that stand or fall together: the five captions of one picture are not five independent questions.

Interval: totals per cluster give the variance of a ratio (Cochran 1977, "Sampling Techniques", section 9A.4), it tells how many
independent answers would scatter as much, and Wilson's interval of so many is taken (Rao and Scott 1992, Biometrics 48:577; for
proportions in surveys Korn and Graubard 1998, Survey Methodology 24:193). infra/benchmarks/caption_clusters.py measures what it
covers beside the interval that forgets the clusters.

N = answers, G = clusters.
"""

import numpy as np
from numpy.typing import ArrayLike

from evaluation.statistics.intervals import CONFIDENCE, Interval, score_ends


def clustered_interval(
    values: ArrayLike, clusters: ArrayLike, span: tuple[float, float] = (0.0, 1.0), confidence: float = CONFIDENCE
) -> Interval:
    """Interval of the mean of values (N,) in `span`, of which those with an equal entry in `clusters` (N,) belong together.

    One cluster of mean size at either end of the span is added when the scatter is estimated, so that equal values do not
    pass for certainty; with clusters of one answer each it is `intervals.mean_interval`. Raises ValueError for no values.
    """
    low_end, high_end = span
    share_N = (np.asarray(values, np.float64) - low_end) / (high_end - low_end)
    count = len(share_N)
    if not count:
        raise ValueError("the mean of nothing has no interval")
    _, place_N, size_G = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    sum_G = np.bincount(place_N, share_N)
    usual = count / len(size_G)
    more = (share_N.sum() + usual) / (count + 2 * usual)
    apart = ((sum_G - more * size_G) ** 2).sum() + usual**2 * (more**2 + (1 - more) ** 2)
    independent = count * more * (1 - more) * (count + 2 * usual) / apart
    mean = min(1.0, float(share_N.sum()) / count)
    low, high = score_ends(np.array([mean]), np.array([independent]), confidence)
    return Interval(*(low_end + end * (high_end - low_end) for end in (mean, float(low[0]), float(high[0]))))
