"""Two models whose probes learned from a few pictures drawn at random: is one better on other pictures and after other draws too?

Both runs share their draws (by seed), so the differences d of J draws are pairs. Picture i and draw j are crossed: the mean of
d_ij over I pictures and J draws varies by P/I + Q/J + E/(IJ), of pictures, draws and both together (Searle, Casella and McCulloch
1992, "Variance Components", chapter 4). The scatter of the J means estimates Q/J + E/(IJ) with J - 1 degrees of freedom, hence
Student's t; the interval of the mean over draws, as if the draws were fixed, holds P/I + E/(IJ), of which the second is taken away
where both are joined as squares (MOVER, intervals.py). What is told is never narrower than without draws.

Satterthwaite's degrees of freedom instead call up to 8 % of equal pairs different at three draws where draws vary more than
pictures; this keeps below 5 % throughout, at the price of 1 to 3 % where draws matter little. J = draws, N = pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from evaluation.statistics.compared import Means, Measured, Resampled, difference
from evaluation.statistics.intervals import CONFIDENCE, Interval
from evaluation.statistics.paired import Difference

LEAST_P = 1e-50
"""What is below is 0; Student's quantiles end before the normal ones do."""


@dataclass(frozen=True)
class Drawn:
    """One metric of one model after each of its draws, all on the same pictures."""

    draws: tuple[Measured, ...]

    @property
    def mean(self) -> Measured:
        """Over these draws, as a metric of the pictures alone."""
        first = self.draws[0]
        if isinstance(first, Means):
            return replace(first, values=np.mean([each.values for each in _means(self)], axis=0))
        several = [each for each in self.draws if isinstance(each, Resampled)]
        ends = np.mean([each.interval for each in several], axis=0)
        return Resampled(
            lambda weights_RN: np.mean([each.statistic(weights_RN) for each in several], axis=0),
            Interval(*ends.tolist()),
            tuple(part for each in several for part in each.ordered),
            several[0].clusters,
        )


def difference_over_draws(first: Drawn, second: Drawn, count: int, resamples: int, seed: int) -> Difference:
    """Second minus first, draw j of the one with draw j of the other, on the same `count` pictures. One draw tells nothing of
    how others would fall: the difference is of that draw alone, and its test says so."""
    pictures = difference(first.mean, second.mean, count, resamples, seed)
    apart_J = np.array([b.value - a.value for a, b in zip(first.draws, second.draws, strict=True)])
    draws = len(apart_J)
    if draws == 1:
        return replace(pictures, test=f"{pictures.test}, of one draw")
    scatter = float(apart_J.std(ddof=1)) / draws**0.5
    own = (1 - _of_both(first, second)) ** 0.5
    below, above = own * (pictures.value - pictures.low), own * (pictures.high - pictures.value)
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, draws - 1)) * scatter
    deviation = (below if pictures.value > 0 else above) / float(norm.ppf(0.5 + CONFIDENCE / 2))
    return Difference(
        pictures.value,
        max(-1.0, min(pictures.low, pictures.value - float(np.hypot(below, reach)))),
        min(1.0, max(pictures.high, pictures.value + float(np.hypot(above, reach)))),
        max(pictures.p_value, p_of(abs(pictures.value), deviation, scatter, draws - 1)),
        f"{pictures.test}; Student's t over {draws} draws",
    )


def p_of(value: float, deviation: float, scatter: float, degrees: int) -> float:
    """The p at which an interval of hypot(z deviation, t scatter) just reaches from `value` >= 0 to nothing; t has `degrees`."""

    def excess(log_p: float) -> float:
        half = float(np.exp(log_p)) / 2
        return float(np.hypot(norm.isf(half) * deviation, student.isf(half, degrees) * scatter)) - value

    if value == 0:
        return 1.0
    least = float(np.log(LEAST_P))
    return float(np.exp(brentq(excess, least, 0.0))) if excess(least) > 0 else 0.0


def _of_both(first: Drawn, second: Drawn) -> float:
    """Which share of the variance over pictures, of the mean over draws, is of picture and draw together, and so in the scatter
    of the draws as well. Nothing where the metric is no mean over pictures: there it counts twice."""
    one, other = _means(first), _means(second)
    if not one or not other or one[0].clusters is not None:
        return 0.0
    apart_JN = np.stack([b.values - a.values for a, b in zip(one, other, strict=True)])
    group_N = np.zeros(apart_JN.shape[1], np.int64) if one[0].groups is None else one[0].groups
    _, place_N, count_G = np.unique(group_N, return_inverse=True, return_counts=True)
    mean_JG = np.stack([np.bincount(place_N, row_N) / count_G for row_N in apart_JN])
    share_JN = (apart_JN - mean_JG[:, place_N]) / count_G[place_N]
    whole = float((share_JN.mean(axis=0) ** 2).sum())
    both = float(share_JN.var(axis=0, ddof=1).sum()) / len(share_JN)
    return min(1.0, both / whole) if whole > 0 else 0.0


def _means(drawn: Drawn) -> Sequence[Means]:
    return [each for each in drawn.draws if isinstance(each, Means)]
