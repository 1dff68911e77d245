"""Intervals for measured numbers: how far a score could be off because only n pictures were looked at.

k = successes, n = trials. Wilson (1927, JASA 22) is what accuracies are reported with; Clopper and Pearson (1934,
Biometrika 26) is the exact one that CLIP's overlap analysis uses (arXiv:2103.00020, section 5). Means of anything bounded get
Wilson's interval too (`mean_interval`; over classes or folds: clustered.py); means over tasks are joined by MOVER (Zou and Donner
2008, Statistics in Medicine 27); areas under the ROC curve get Newcombe's (2006, Statistics in Medicine 25:559). A percentile
bootstrap (Efron 1979) has no width where every picture was answered alike; it is left for average precision and calibration,
widened by what counts alone allow.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
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
    share = successes / trials
    low, high = score_ends(np.array([share]), np.array([float(trials)]), confidence)
    return Interval(share, float(low[0]), float(high[0]))


def score_ends(
    share_G: NDArray[np.float64], trials_G: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends of Wilson's interval of many proportions; `trials_G` need not be whole."""
    z = float(norm.ppf(0.5 + confidence / 2))
    shrink_G = 1 + z * z / trials_G
    centre_G = (share_G + z * z / (2 * trials_G)) / shrink_G
    half_G = z / shrink_G * np.sqrt(share_G * (1 - share_G) / trials_G + z * z / (4 * trials_G**2))
    # At 0 and 1 the formula's end is exactly there; rounding must not move it past the value.
    low_G = np.where(share_G <= 0, 0.0, np.clip(centre_G - half_G, 0, share_G))
    high_G = np.where(share_G >= 1, 1.0, np.clip(centre_G + half_G, share_G, 1))
    return low_G, high_G


def mean_interval(
    values: ArrayLike, span: tuple[float, float] = (0.0, 1.0), confidence: float = CONFIDENCE
) -> Interval:
    """Interval of the mean of one value per picture, each in `span`; of a mean over groups see `clustered.means_interval`.

    Wilson's, of as many pictures as would scatter like these if they were only right or wrong (Kish's design effect; Korn and
    Graubard 1998, Survey Methodology 24, do the same): for values 0 and 1 it is Wilson's own. One picture at either end of the
    span is added when the scatter is estimated, so that equal values do not pass for certainty.
    """
    low_end, high_end = span
    share_N = (np.asarray(values, np.float64) - low_end) / (high_end - low_end)
    count = len(share_N)
    _check(0, count)
    more = (float(share_N.sum()) + 1) / (count + 2)
    scatter = (float((share_N**2).sum()) + 1) / (count + 2) - more**2
    mean = min(1.0, max(0.0, float(share_N.mean())))
    low, high = score_ends(np.array([mean]), np.array([count * more * (1 - more) / scatter]), confidence)
    return Interval(*(low_end + end * (high_end - low_end) for end in (mean, float(low[0]), float(high[0]))))


def joined(parts: Sequence[Interval], groups: Sequence[object] | None = None) -> Interval:
    """The mean of independent numbers: MOVER. Those of one of the `groups` are not independent of each other: their reaches add
    up, which is enough however they hang together."""
    value_P, low_P, high_P = np.array(parts, np.float64).T
    value, count = float(value_P.mean()), len(parts)
    place = {group: at for at, group in enumerate(dict.fromkeys(groups or ()))}
    places_P = [place[group] for group in groups] if groups else range(count)
    below, above = (
        float(np.sqrt((np.bincount(places_P, reach_P) ** 2).sum())) / count
        for reach_P in (value_P - low_P, high_P - value_P)
    )
    return Interval(value, value - below, value + above)


def apart(first: Interval, second: Interval) -> Interval:
    """Second minus first of two independent numbers: MOVER."""
    value = second.value - first.value
    below = np.hypot(second.value - second.low, first.high - first.value)
    above = np.hypot(second.high - second.value, first.value - first.low)
    return Interval(value, value - float(below), value + float(above))


def area_interval(area: float, right: int, wrong: int, confidence: float = CONFIDENCE) -> Interval:
    """Of an area under the ROC curve over so many right and wrong pictures: all areas A for which (area - A)^2 is at most
    z^2 times Hanley and McNeil's variance of A (Newcombe's method 5)."""
    z, mean = float(norm.ppf(0.5 + confidence / 2)), (right + wrong) / 2 - 1

    def reach(a: float) -> float:
        """z^2 times the variance, without its factor a (1 - a)."""
        return z * z * (1 + mean * (1 - a) / (2 - a) + mean * a / (1 + a)) / (right * wrong)

    def excess(a: float) -> float:
        # An area of 0 or 1 is a root of its own, where nothing varies: the end that is looked for is the other one.
        if area <= 0:
            return a - (1 - a) * reach(a)
        if area >= 1:
            return (1 - a) - a * reach(a)
        return (area - a) ** 2 - a * (1 - a) * reach(a)

    low = 0.0 if area <= 0 else float(brentq(excess, 0.0, area))
    high = 1.0 if area >= 1 else float(brentq(excess, area, 1.0))
    return Interval(area, low, high)


def wider(first: Interval, second: Interval) -> Interval:
    """The first with the farther of both ends."""
    return Interval(first.value, min(first.low, second.low), max(first.high, second.high))


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


def weight_chunks(
    count: int, resamples: int, seed: int, clusters: ArrayLike | None = None
) -> Iterator[NDArray[np.float64]]:
    """`resample_weights` in chunks of rows of at most CHUNK_WEIGHTS numbers; how many they are changes no number. With
    `clusters` (count,) it is these that are drawn, each with all its pictures, and rows sum to about `count`.

    Multinomial weights by counting drawn positions: nine times faster than drawing the counts one by one.
    """
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK_WEIGHTS // count)
    if clusters is not None:
        place_N = np.unique(np.asarray(clusters), return_inverse=True)[1]
        for start in range(0, resamples, step):
            drawn_RG = resample_weights(
                int(place_N.max()) + 1, min(step, resamples - start), int(generator.integers(1 << 62))
            )
            yield drawn_RG[:, place_N]
        return
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def bootstrap(
    statistic: Statistic,
    count: int,
    resamples: int,
    seed: int,
    confidence: float = CONFIDENCE,
    clusters: ArrayLike | None = None,
    less_bias: bool = False,
) -> Interval:
    """Percentile bootstrap of a statistic that takes weights (R, N) to values (R,); NaN stands for a resample without one.

    `less_bias`: moved by its bias twice, since what resampling adds to the sample's value, sampling has added to the true one (an
    interpolated precision is the best of several, and the higher the fewer pictures are right).
    """
    _check(0, count)
    value = float(statistic(np.ones((1, count)))[0])
    values_R = np.concatenate([statistic(weights_RN) for weights_RN in weight_chunks(count, resamples, seed, clusters)])
    values_R = values_R[~np.isnan(values_R)]
    twice = 2 * (float(values_R.mean()) - value) if less_bias else 0.0
    low, high = (end - twice for end in percentiles(values_R, confidence))
    # Where the bootstrap is biased the value may lie outside its percentiles; an interval holds its value.
    return Interval(value, min(low, value), max(high, value))


def percentiles(statistics: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The middle `confidence` of resampled statistics."""
    low, high = np.quantile(statistics, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _check(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials have no interval")
