"""Does a model that is 80 % sure get 80 % right? Expected calibration error, the data of its diagram, and a temperature.

Guo et al. 2017 (arXiv:1706.04599): confidence is the highest softmax probability; 15 bins of equal width; the error is the
mean over bins of |accuracy - confidence|, weighted by their pictures; dividing all logits by one number, fitted on pictures
that are not tested on, mends most of it and changes no answer. N = pictures, C = classes, B = bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from evaluation.statistics.intervals import Interval, Statistic, percentiles, weight_chunks, wider, wilson

BINS = 15
LOG_TEMPERATURES = (-7.0, 7.0)
CHUNK_NUMBERS = 1 << 18
DOUBT = 3.0
"""Standard deviations from which on the sign of a bin's gap is taken as known."""


@dataclass(frozen=True)
class Bin:
    """One bar of the reliability diagram, the accuracy with its interval; None where no picture fell."""

    low: float
    high: float
    pictures: int
    confidence: float | None
    accuracy: float | None
    accuracy_low: float | None = None
    accuracy_high: float | None = None


def confidences(scores_NC: NDArray[np.floating], scale: float | None) -> NDArray[np.float64]:
    """(N,) the highest probability of each row, by `probability` of a few rows at a time: memory is that of the scores."""
    step = max(1, CHUNK_NUMBERS // scores_NC.shape[1])
    parts = [
        probability(scores_NC[start : start + step], scale).max(axis=1) for start in range(0, len(scores_NC), step)
    ]
    return np.concatenate([np.zeros(0), *parts])


def probability(scores_NC: NDArray[np.floating], scale: float | None) -> NDArray[np.float64]:
    """Of scores that times `scale` are logits; with None they are probabilities already, such as shares of votes."""
    return scores_NC.astype(np.float64) if scale is None else probabilities(scores_NC * scale)


def probabilities(logits_NC: NDArray[np.floating]) -> NDArray[np.float64]:
    """Softmax over classes, in float64: in float32 a sure model's confidence is exactly 1."""
    shifted_NC = logits_NC.astype(np.float64)
    shifted_NC -= shifted_NC.max(axis=1, keepdims=True)
    grown_NC = np.exp(shifted_NC)
    out: NDArray[np.float64] = grown_NC / grown_NC.sum(axis=1, keepdims=True)
    return out


def reliability(confidence_N: NDArray[np.float64], correct_N: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """What each bin holds; a confidence of 1 is in the last one (Hendrycks' script drops that bin, torchmetrics adds one)."""
    place_N = _places(confidence_N, bins)
    rows = []
    for index in range(bins):
        here = place_N == index
        count = int(here.sum())
        empty = (None, None, None, None)
        bar = (float(confidence_N[here].mean()), *wilson(int(correct_N[here].sum()), count)) if count else empty
        rows.append(Bin(index / bins, (index + 1) / bins, count, *bar))
    return rows


def calibration_error(
    confidence_N: NDArray[np.float64],
    correct_N: NDArray[np.bool_],
    resamples: int,
    seed: int,
    bins: int = BINS,
    clusters: NDArray[np.int64] | None = None,
) -> Interval:
    """Expected calibration error with an interval that knows that noise counts as error, whichever sign it has in a bin.

    The lower end is what noise leaves of the value (`_raised`): of a model without error it is 0. The upper end is the bootstrap's,
    less its bias. Where a bin's answers are all right or all wrong no resample varies: the interval is never narrower than what
    Wilson's intervals of the bins' accuracies allow.
    """
    error = binned_error(confidence_N, correct_N, bins)
    count = len(confidence_N)
    value = float(error(np.ones((1, count)))[0])
    errors_R = np.concatenate([error(weights) for weights in weight_chunks(count, resamples, seed, clusters)])
    high = percentiles(errors_R)[1] - (float(errors_R.mean()) - value)
    raised = percentiles(_raised(_gaps(confidence_N, correct_N, bins), resamples, seed, clusters))[1]
    found = Interval(value, max(0.0, value - max(0.0, raised)), min(1.0, max(value, high)))
    return wider(found, _of_bins(value, reliability(confidence_N, correct_N, bins)))


def _raised(
    gap_NB: NDArray[np.float64], resamples: int, seed: int, clusters: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """(R,) by how much noise may have raised the error: |gap + noise| is at most |gap| + |noise|, and in bins whose gap is beyond
    doubt |gap| + noise towards it.

    Noise is each picture's own gap, or all of a cluster's, with a sign by a coin (the wild bootstrap, Wu 1986, Annals of Statistics
    14); sums by bin are drawn as normal numbers of their covariance.
    """
    total_GB = gap_NB
    if clusters is not None:
        place_N = np.unique(clusters, return_inverse=True)[1]
        total_GB = np.zeros((int(place_N.max()) + 1, gap_NB.shape[1]))
        np.add.at(total_GB, place_N, gap_NB)
    covariance_BB, sum_B = total_GB.T @ total_GB, total_GB.sum(axis=0)
    spectrum_B, axes_BB = np.linalg.eigh(covariance_BB)
    normal_RB = np.random.default_rng([seed, 2]).normal(size=(resamples, len(spectrum_B)))
    noise_RB = (normal_RB * np.sqrt(np.maximum(spectrum_B, 0))) @ axes_BB.T
    beyond_B = np.abs(sum_B) > DOUBT * np.sqrt(np.diag(covariance_BB))
    return np.asarray(np.where(beyond_B, noise_RB * np.sign(sum_B), np.abs(noise_RB)).sum(axis=1) / len(gap_NB))


def binned_error(confidence_N: NDArray[np.float64], correct_N: NDArray[np.bool_], bins: int = BINS) -> Statistic:
    """The calibration error as a function of the pictures' weights."""
    gap_NB = _gaps(confidence_N, correct_N, bins)
    return lambda weights_RN: np.asarray(np.abs(weights_RN @ gap_NB).sum(axis=1) / weights_RN.sum(axis=1))


def _gaps(confidence_N: NDArray[np.float64], correct_N: NDArray[np.bool_], bins: int) -> NDArray[np.float64]:
    """(N, B) confidence less right (1) or wrong (0), in the bin that a picture falls into."""
    gap_NB = np.zeros((len(confidence_N), bins))
    gap_NB[np.arange(len(confidence_N)), _places(confidence_N, bins)] = confidence_N - correct_N
    return gap_NB


def _of_bins(value: float, bars: Sequence[Bin]) -> Interval:
    """The error's interval if each bin's accuracy were known only as its count allows: MOVER over the bins."""
    total, below, above = sum(bar.pictures for bar in bars), 0.0, 0.0
    for bar in bars:
        if bar.confidence is None or bar.accuracy is None or bar.accuracy_low is None or bar.accuracy_high is None:
            continue
        gap, ends = abs(bar.accuracy - bar.confidence), (bar.accuracy_low, bar.accuracy_high)
        nearest = 0.0 if ends[0] <= bar.confidence <= ends[1] else min(abs(end - bar.confidence) for end in ends)
        below += (bar.pictures / total * (gap - nearest)) ** 2
        above += (bar.pictures / total * (max(abs(end - bar.confidence) for end in ends) - gap)) ** 2
    return Interval(value, max(0.0, value - below**0.5), min(1.0, value + above**0.5))


def fit_temperature(logits_NC: NDArray[np.floating], labels_N: NDArray[np.int64]) -> float:
    """The number to divide logits by that makes the labels most likely. One convex problem in 1 / temperature, searched in its
    logarithm; where every answer is right no finite one is best, and the end of the range is given."""
    logits_NC = logits_NC.astype(np.float64)
    rows = np.arange(len(labels_N))

    def loss(log_temperature: float) -> float:
        scaled_NC = logits_NC / np.exp(log_temperature)
        highest_N = scaled_NC.max(axis=1)
        total_N = highest_N + np.log(np.exp(scaled_NC - highest_N[:, None]).sum(axis=1))
        return float((total_N - scaled_NC[rows, labels_N]).mean())

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _places(confidence_N: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    edges = np.linspace(0, 1, bins + 1)
    return np.minimum(np.searchsorted(edges, confidence_N, side="right") - 1, bins - 1)
