"""Effective robustness with its interval (Taori et al. 2020, arXiv:2007.00644, section 2): accuracy under a shift less what a
standard model of equal reference accuracy has there. Relative robustness, the gain of one model over another, is a comparison
of two reports (comparison.py), whose pictures are paired.
"""

from scipy.stats import norm

from evaluation.shifts.lines import Line
from evaluation.statistics.intervals import CONFIDENCE, Interval


def effective_robustness(
    reference: tuple[int, int],
    shifted: tuple[int, int],
    line: Line,
    confidence: float = CONFIDENCE,
    independent: int | None = None,
) -> Interval:
    """From (right answers, pictures) on the reference and under the shift; `independent` answers would scatter as much as those
    under the shift, where some stand or fall together.

    The interval joins three uncertainties: of both accuracies by their counts, and of the line by its fit; corrected counts
    (k + 1/2) / (n + 1) keep 0 and 1 off the ends of the logit.
    """
    x, x_variance = _corrected(*reference)
    y_variance = _corrected(*shifted)[1] * shifted[1] / (independent or shifted[1])
    expected = line.expected(x)
    steepness = line.slope * expected * (1 - expected) / (x * (1 - x))
    deviation = (y_variance + steepness**2 * x_variance + line.deviation(x) ** 2) ** 0.5
    value = shifted[0] / shifted[1] - expected
    reach = float(norm.ppf(0.5 + confidence / 2)) * deviation
    return Interval(value, value - reach, value + reach)


def _corrected(right: int, count: int) -> tuple[float, float]:
    """(accuracy, its variance)."""
    share = (right + 0.5) / (count + 1)
    return share, share * (1 - share) / count
