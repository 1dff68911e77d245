"""Lines that accuracy under a shift follows, as fitted on models trained the usual way (Taori et al. 2020, arXiv:2007.00644).

On a scale of logits the accuracies of standard models under a natural shift lie on a line over those on the reference pictures:

    expected(x) = expit(slope x logit(x) + intercept)

Fitted two ways: least squares as published, which has to drop a model that scores 0 or 1 (ResNet-50 on ImageNet-A, which was
filtered by it), and weighted by what a count of right answers says about its logit, n p (1 - p), after (k + 1/2) / (n + 1).

M = models.
"""

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Method = Literal["published", "weighted"]
POINTS = Path(__file__).parent / "standard_models.csv"
"""Accuracies of 85 standard models, from robustness_top1s.csv of modestyachts/imagenet-testbed (MIT) at 0170eec: the models it
calls standard training, less two second trainings of ResNet-50; ImageNetV2 as matched frequency in ImageNet's format."""


class Point(NamedTuple):
    """One model: accuracies on the reference and under the shift, and how many pictures each was measured on."""

    reference: float
    shifted: float
    reference_count: int
    shifted_count: int


@dataclass(frozen=True)
class Line:
    """slope and intercept on the scale of logits, their covariance, and how many models they come from."""

    slope: float
    intercept: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    models: int
    r_squared: float

    def expected(self, reference: float) -> float:
        """The accuracy under the shift that a standard model of this reference accuracy has."""
        return float(expit(self.slope * logit(reference) + self.intercept))

    def deviation(self, reference: float) -> float:
        """Standard deviation of `expected` as the fit is uncertain, by first-order propagation."""
        at = np.array([logit(reference), 1.0])
        value = self.expected(reference)
        return float(value * (1 - value) * np.sqrt(max(0.0, at @ np.array(self.covariance) @ at)))


def fit(points: Sequence[Point], method: Method = "weighted") -> Line:
    """The line through these models. Raises ValueError for fewer than three that can be used, or all of one accuracy."""
    table_M4 = np.array(points, np.float64).reshape(-1, 4)
    x_M, y_M, weight_M = _published(table_M4) if method == "published" else _weighted(table_M4)
    if len(x_M) < 3 or np.ptp(x_M) == 0:
        raise ValueError(f"{len(x_M)} models of different accuracy are too few for a line; three is the least")
    design_M2 = np.stack([x_M, np.ones_like(x_M)], axis=1)
    inverse = np.linalg.inv(design_M2.T @ (design_M2 * weight_M[:, None]))
    slope, intercept = inverse @ design_M2.T @ (weight_M * y_M)
    residual_M = y_M - slope * x_M - intercept
    # Models scatter more than counting alone would make them: the spread is taken from the residuals.
    spread = float((weight_M * residual_M**2).sum() / (len(x_M) - 2))
    centred_M = y_M - np.average(y_M, weights=weight_M)
    r_squared = 1 - float((weight_M * residual_M**2).sum() / (weight_M * centred_M**2).sum())
    (a, b), (c, d) = (spread * inverse).tolist()
    return Line(float(slope), float(intercept), ((a, b), (c, d)), len(x_M), r_squared)


def _published(table_M4: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    inside_M = ((table_M4[:, :2] > 0) & (table_M4[:, :2] < 1)).all(axis=1)
    x_M, y_M = logit(table_M4[inside_M, :2]).T
    return x_M, y_M, np.ones_like(x_M)


def _weighted(table_M4: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    counts_M2 = table_M4[:, 2:]
    share_M2 = (table_M4[:, :2] * counts_M2 + 0.5) / (counts_M2 + 1)
    x_M, y_M = logit(share_M2).T
    shifted_M = share_M2[:, 1]
    return x_M, y_M, counts_M2[:, 1] * shifted_M * (1 - shifted_M)


COUNTS = {
    "imagenetv2": (50_000, 10_000),
    "imagenet-sketch": (50_000, 50_889),
    "imagenet-r": (10_000, 30_000),
    "imagenet-a": (10_000, 7_500),
    "objectnet": (6_250, 18_514),
    "imagenet-vid-robust/pm-0": (14_400, 1_109),
    "imagenet-vid-robust/pm-10": (14_400, 1_109),
    "ytbb-robust/pm-0": (11_550, 2_030),
    "ytbb-robust/pm-10": (11_550, 2_030),
}
"""Pictures of the reference, ImageNet's validation part cut to the shift's classes, and of the shift, as the points were measured:
every one is a whole number of them. YTBB-Robust's 2,530 anchors were drawn, 2,467 looked at, and 2,030 stand: with Vid-Robust's
1,109 they are the 3,139 sets of Shankar et al. 2019 (arXiv:1906.02168, abstract)."""


@functools.cache
def standard_points(shift: str) -> tuple[Point, ...]:
    """The shipped models measured both ways on `shift`, a key of COUNTS."""
    task = shift.partition("/")[0]
    with POINTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    reference = f"imagenet@{task}" if f"imagenet@{task}" in rows[0] else "imagenet"
    both = [(row[reference], row[shift]) for row in rows if row[reference] and row[shift]]
    return tuple(Point(float(x), float(y), *COUNTS[shift]) for x, y in both)


@functools.cache
def standard_line(shift: str, method: Method) -> Line:
    """The line of the shipped models."""
    return fit(standard_points(shift), method)
