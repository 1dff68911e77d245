"""Is one model better than another on the same pictures? Tests of pairs, and Holm's correction where several are made.

N = pictures, R = resamples. Both models answered the same pictures, so pictures that both get right or both get wrong say
nothing: only those that they split on do. An unpaired comparison of the two intervals would miss most real differences.

Accuracies: McNemar's test (1947, Psychometrika 12) on the b and c pictures that only one of them gets right. The exact
binomial p is conservative, since counts are whole numbers: of equal models it calls far fewer than 5 % different. The mid-p
(Lancaster 1961, JASA 56; for McNemar: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91) counts half
of the observed table and keeps to the level; infra/benchmarks/paired_test_size.py measures both. Other means over pictures:
signs of the differences swapped at random, of all captions of a picture together, and mid-p there too, since means over classes of
one size or of few captions are as coarse as counts. Metrics that are no mean over pictures (AUC, average precision): the bootstrap
of the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm

from evaluation.statistics.clustered import means_interval
from evaluation.statistics.intervals import CONFIDENCE, Interval, Statistic, percentiles, weight_chunks

LEVEL = 0.05
COINS_PER_RESAMPLE = 5
"""A p-value of one in ten thousand needs more draws than an interval does."""


@dataclass(frozen=True)
class Difference:
    """The second model's number minus the first's, its interval, and the p-value of no difference."""

    value: float
    low: float
    high: float
    p_value: float
    test: str


def mid_p(only_first: ArrayLike, only_second: ArrayLike) -> NDArray[np.float64]:
    """Two-sided mid-p of McNemar's test, elementwise: 2 P(X < k) + P(X = k) for k the smaller count, X ~ B(b + c, 1/2)."""
    first, second = np.asarray(only_first), np.asarray(only_second)
    fewer, split = np.minimum(first, second), first + second
    p = 2 * binom.cdf(fewer - 1, split, 0.5) + binom.pmf(fewer, split, 0.5)
    return np.where(first == second, 1.0, np.minimum(p, 1.0))


def exact_p(only_first: ArrayLike, only_second: ArrayLike) -> NDArray[np.float64]:
    """Two-sided exact p of McNemar's test, elementwise: never above its level, and mostly far below."""
    first, second = np.asarray(only_first), np.asarray(only_second)
    out: NDArray[np.float64] = np.minimum(2 * binom.cdf(np.minimum(first, second), first + second, 0.5), 1.0)
    return out


def mcnemar(first_N: NDArray[np.bool_], second_N: NDArray[np.bool_]) -> Difference:
    """Difference of two accuracies. Interval: Agresti and Min 2005 (Statistics in Medicine 24), half a picture added to each
    of the four cells, which keeps its coverage where few pictures differ."""
    count = len(first_N)
    only_first, only_second = int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum())
    share_first, share_second = (only_first + 0.5) / (count + 2), (only_second + 0.5) / (count + 2)
    centre = share_second - share_first
    z = float(norm.ppf(0.5 + CONFIDENCE / 2))
    half = z * float(np.sqrt(max(0.0, share_first + share_second - centre**2) / (count + 2)))
    value = (only_second - only_first) / count
    return Difference(
        value,
        min(value, max(-1.0, centre - half)),
        max(value, min(1.0, centre + half)),
        float(mid_p(only_first, only_second)),
        "McNemar, mid-p",
    )


def swapped_signs(
    first: ArrayLike,
    second: ArrayLike,
    resamples: int,
    seed: int,
    groups: ArrayLike | None = None,
    span: tuple[float, float] = (0.0, 1.0),
    clusters: ArrayLike | None = None,
) -> Difference:
    """Test of means of one value per picture (N,) in `span`, or of means over groups: both models' values of a picture are
    swapped or not by a coin, which swaps the sign of its share of the difference. With `clusters` (N,) one coin is for all
    values of a cluster: its answers may depend on each other in any way.

    Exact but for the number of coins: were the models equal, every pattern of signs would be as likely. Patterns as extreme as
    the observed one count half (mid-p). Pictures that differ by nothing need no coin, and of those that differ by the same
    amount only the number of swapped ones is drawn.
    """
    apart_N = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    group_N = np.zeros(len(apart_N), np.int64) if groups is None else np.asarray(groups)
    _, place_N, count_G = np.unique(group_N, return_inverse=True, return_counts=True)
    share_N = apart_N / (count_G[place_N] * len(count_G))
    if clusters is not None:
        share_N = np.asarray(np.bincount(np.unique(np.asarray(clusters), return_inverse=True)[1], share_N), np.float64)
    # A sum in another order differs in its last bits: as extreme as the observed one means as extreme but for those.
    observed, slack = abs(float(share_N.sum())), 1e-9 * float(np.abs(share_N).sum())
    coins = COINS_PER_RESAMPLE * resamples
    more, equal = _patterns(share_N, observed, slack, coins, np.random.default_rng([seed, 1]))
    p = 1.0 if observed <= slack else (more + (equal + 1) / 2) / (coins + 1)
    reach = span[1] - span[0]
    test = "signs swapped, mid-p" if clusters is None else "signs of clusters swapped, mid-p"
    return Difference(*means_interval(apart_N, groups, clusters, (-reach, reach)), p, test)


def _patterns(
    share_N: NDArray[np.float64], observed: float, slack: float, coins: int, generator: np.random.Generator
) -> tuple[int, int]:
    """How many of `coins` patterns of signs have a sum farther from 0 than `observed`, and how many as far."""
    size_D, count_D = np.unique(np.abs(share_N[share_N != 0]), return_counts=True)
    more, equal, done = 0, 0, 0
    while done < coins:
        rows = min(coins - done, max(1, (1 << 22) // max(1, len(size_D))))
        plus_RD = generator.binomial(count_D, 0.5, (rows, len(size_D)))
        sums_R = np.abs((2 * plus_RD - count_D) @ size_D)
        more += int((sums_R > observed + slack).sum())
        equal += int((np.abs(sums_R - observed) <= slack).sum())
        done += rows
    return more, equal


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    count: int,
    resamples: int,
    seed: int,
    unpaired: Interval | None = None,
    clusters: ArrayLike | None = None,
) -> Difference:
    """Test of any statistic: both models on the same resamples of the pictures, or of their
    `clusters`; p by the normal tail of value / deviation.

    `unpaired` is the difference with its interval as if the two were of different pictures: where no resample varies, as with
    models that are always right or always wrong, it stands in for what resampling cannot see.
    """
    ones = np.ones((1, count))
    value = float(second(ones)[0] - first(ones)[0])
    sums_R = np.concatenate(
        [second(weights) - first(weights) for weights in weight_chunks(count, resamples, seed, clusters)]
    )
    sums_R = sums_R[~np.isnan(sums_R)]
    low, high = percentiles(sums_R)
    deviation = float(sums_R.std())
    if deviation < 1e-12 and unpaired is not None:
        low, high = unpaired.low, unpaired.high
        towards_nothing = value - low if value > 0 else high - value
        deviation = towards_nothing / float(norm.ppf(0.5 + CONFIDENCE / 2))
    p = 2 * float(norm.sf(abs(value) / deviation)) if deviation > 0 else float(value == 0)
    return Difference(value, min(low, value), max(high, value), p, "paired bootstrap")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979, Scandinavian Journal of Statistics 6): a difference is called one where they are below
    the level, and the chance of one false call among all is at most the level."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.zeros(len(p_values))
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return [float(p) for p in adjusted]
