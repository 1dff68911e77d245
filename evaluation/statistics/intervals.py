"""Intervals for measured numbers: how far a score could be off because only n pictures were looked at.

k = successes, n = trials. Wilson (1927, JASA 22) is what accuracies are reported with; Clopper and Pearson (1934,
Biometrika 26) is the exact one that CLIP's overlap analysis uses (arXiv:2103.00020, section 5); the percentile bootstrap
(Efron 1979) is for numbers that are no single proportion, such as a mean over corruptions.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm

CONFIDENCE = 0.95
CHUNK_WEIGHTS = 1 << 22

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights (R, N) of N pictures in R resamples -> the number that each resample gives, (R,)."""


class Interval(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a proportion: it stays inside [0, 1] and keeps its coverage where k is 0 or n."""
    _check(successes, trials)
    z = float(norm.ppf(0.5 + confidence / 2))
    share = successes / trials
    shrink = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z / shrink * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    # At k = 0 and k = n the formula's end is exactly 0 or 1; rounding must not move it past the value.
    return Interval(
        share,
        0.0 if successes == 0 else max(0.0, centre - half),
        1.0 if successes == trials else min(1.0, centre + half),
    )


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval of a proportion: all p that a two-sided binomial test would not reject; never too narrow."""
    _check(successes, trials)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return Interval(successes / trials, low, high)


def resample_weights(count: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each of `count` pictures is drawn in each resample, shape (resamples, count); rows sum to `count`.

    Statistics of resampled data are then one matrix product, instead of a loop over gathered copies.
    """
    return np.concatenate(list(weight_chunks(count, resamples, seed)))


def weight_chunks(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """`resample_weights` in chunks of rows of at most CHUNK_WEIGHTS numbers; how many they are changes no number.

    Multinomial weights by counting drawn positions: nine times faster than drawing the counts one by one.
    """
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK_WEIGHTS // count)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def bootstrap(statistic: Statistic, count: int, resamples: int, seed: int, confidence: float = CONFIDENCE) -> Interval:
    """Percentile bootstrap of a statistic that takes weights (R, N) to values (R,); NaN stands for a resample without one."""
    _check(0, count)
    value = float(statistic(np.ones((1, count)))[0])
    values_R = np.concatenate([statistic(weights_RN) for weights_RN in weight_chunks(count, resamples, seed)])
    low, high = percentiles(values_R[~np.isnan(values_R)], confidence)
    # Where the bootstrap is biased the value may lie outside its percentiles; an interval holds its value.
    return Interval(value, min(low, value), max(high, value))


def bootstrap_mean(values: ArrayLike, resamples: int, seed: int, confidence: float = CONFIDENCE) -> Interval:
    """Percentile bootstrap of the mean of one value per picture."""
    values_N = np.asarray(values, np.float64)
    return bootstrap(
        lambda weights_RN: weights_RN @ values_N / len(values_N), len(values_N), resamples, seed, confidence
    )


def percentiles(statistics: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The middle `confidence` of resampled statistics."""
    low, high = np.quantile(statistics, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _check(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials have no interval")
