"""Does a model that is 80 % sure get 80 % right? Expected calibration error, the data of its diagram, and a temperature.

Guo et al. 2017 (arXiv:1706.04599): confidence is the highest softmax probability; 15 bins of equal width; the error is the
mean over bins of |accuracy - confidence|, weighted by their pictures; dividing all logits by one number, fitted on pictures
that are not tested on, mends most of it and changes no answer. N = pictures, C = classes, B = bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from evaluation.statistics.intervals import Interval, percentiles, weight_chunks

BINS = 15
LOG_TEMPERATURES = (-7.0, 7.0)


@dataclass(frozen=True)
class Bin:
    """One bar of the reliability diagram; confidence and accuracy are None where no picture fell."""

    low: float
    high: float
    pictures: int
    confidence: float | None
    accuracy: float | None


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
        mean = (float(confidence_N[here].mean()), float(correct_N[here].mean())) if count else (None, None)
        rows.append(Bin(index / bins, (index + 1) / bins, count, *mean))
    return rows


def calibration_error(
    confidence_N: NDArray[np.float64], correct_N: NDArray[np.bool_], resamples: int, seed: int, bins: int = BINS
) -> Interval:
    """Expected calibration error with the bootstrap's interval, moved by the bootstrap's bias.

    A resample's error is larger than the sample's, since noise in a bin counts as error whichever sign it has; its plain
    percentiles would often lie wholly above the value.
    """
    gaps_N = confidence_N - correct_N
    gap_NB = np.zeros((len(gaps_N), bins))
    gap_NB[np.arange(len(gaps_N)), _places(confidence_N, bins)] = gaps_N / len(gaps_N)
    value = float(np.abs(gap_NB.sum(axis=0)).sum())
    errors_R = np.concatenate(
        [np.abs(weights @ gap_NB).sum(axis=1) for weights in weight_chunks(len(gaps_N), resamples, seed)]
    )
    low, high = percentiles(errors_R)
    bias = float(errors_R.mean()) - value
    return Interval(value, max(0.0, min(value, low - bias)), min(1.0, max(value, high - bias)))


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
