"""How often does a 95 % interval miss what it is an interval of? Where the truth is known: in simulated test parts.

    make bench NAME=interval_coverage          INTERVAL_SAMPLES (400)

Each row draws so many test parts of one shape and counts the intervals that lie wholly above the truth and wholly below it; 5 %
in all would be exact, and chance moves it by 1 %. Means over classes of few pictures (Pets, Caltech-101, Aircraft and cards of
one's own), their differences between two models that answer alike on 30 % of the pictures, calibration errors, and average
precision by eleven points (VOC 2007) and by all thresholds; the truth of the last two is that of a million pictures.
"""

import os
from collections.abc import Callable, Iterator

import numpy as np
from harness import write_facts
from numpy.typing import NDArray

from evaluation.statistics.calibration import calibration_error
from evaluation.statistics.clustered import clustered_interval
from evaluation.statistics.metrics import precision_interval
from evaluation.statistics.paired import swapped_signs
from evaluation.statistics.ranked import average_precision, eleven_point_precision

SAMPLES = int(os.environ.get("INTERVAL_SAMPLES", "400"))
ALIKE = 0.3
BINS = 15
LARGE = 1_000_000
Floats = NDArray[np.float64]
Drawn = Iterator[tuple[float, float]]
"""Ends of one interval after another."""


def main() -> None:
    random = np.random.default_rng(0)
    rows = [*means(random), *differences(random), *calibration(random), *precision(random)]
    headings = ("interval of", "test part", "truth", "wholly above", "wholly below", "missed", "width")
    write_facts("interval_coverage", f"{SAMPLES:,} simulated test parts a row", headings, rows)


def row(name: str, part: str, truth: float, drawn: Drawn, samples: int = SAMPLES) -> list[object]:
    """A row of the table from the first `samples` intervals."""
    ends = np.array([each for each, _ in zip(drawn, range(samples), strict=False)])
    above, below = (ends[:, 0] > truth + 1e-12).mean(), (ends[:, 1] < truth - 1e-12).mean()
    width = np.diff(ends, axis=1).mean()
    return [
        name,
        part,
        f"{truth:.3f}",
        *(f"{100 * each:.1f} %" for each in (above, below, above + below)),
        f"{width:.3f}",
    ]


def means(random: np.random.Generator) -> Iterator[list[object]]:
    """Classes of so many pictures, each class with a share of right answers of its own, or all with the same."""
    shapes: list[tuple[str, list[int], Floats]] = [
        ("37 classes x 100 (Pets)", [100] * 37, random.beta(9, 1, 37)),
        ("102 classes x 30", [30] * 102, random.beta(9, 1, 102)),
        ("100 classes x 33 (Aircraft)", [33] * 100, np.full(100, 0.9)),
        ("500 classes x 4", [4] * 500, np.full(500, 0.9)),
        ("500 classes x 4", [4] * 500, np.full(500, 0.1)),
        ("200 classes x 20", [20] * 200, np.full(200, 0.05)),
        ("10 classes x 12", [12] * 10, np.full(10, 0.1)),
        ("50 classes of 1, 5 or 100", [1] * 20 + [5] * 20 + [100] * 10, random.beta(5, 2, 50)),
    ]
    for part, sizes, right in shapes:
        classes = np.repeat(np.arange(len(sizes)), sizes)
        yield row("mean per class", part, right.mean(), mean_intervals(random, classes, right))


def mean_intervals(random: np.random.Generator, classes: NDArray[np.int64], right: Floats) -> Drawn:
    while True:
        found = (random.random(len(classes)) < right[classes]).astype(float)
        interval = clustered_interval(found, np.arange(len(found)), groups=classes)
        yield interval.low, interval.high


def differences(random: np.random.Generator) -> Iterator[list[object]]:
    """The second model is better by so much in each class."""
    for classes, each, better in ((100, 5, 0.0), (100, 5, 0.03), (50, 4, -0.1), (300, 3, -0.1), (20, 30, 0.1)):
        first = random.beta(7, 2, classes)
        second = np.clip(first + better, 0, 1)
        truth = (1 - ALIKE) * (second - first).mean()
        drawn = difference_intervals(random, np.repeat(np.arange(classes), each), first, second)
        yield row("difference of means per class", f"{classes} classes x {each}", truth, drawn)


def difference_intervals(
    random: np.random.Generator, classes: NDArray[np.int64], first: Floats, second: Floats
) -> Drawn:
    while True:
        a = random.random(len(classes)) < first[classes]
        b = np.where(random.random(len(classes)) < ALIKE, a, random.random(len(classes)) < second[classes])
        found = swapped_signs(a.astype(float), b.astype(float), 100, int(random.integers(1 << 31)), classes)
        yield found.low, found.high


def calibration(random: np.random.Generator) -> Iterator[list[object]]:
    """Confidences from a beta distribution; the answers are right by so much more seldom."""
    for pictures, too_sure in ((200, 0.0), (200, 0.1), (1000, 0.0), (1000, 0.02), (1000, 0.1), (5000, 0.02)):
        sure = random.beta(4, 2, LARGE)
        gap = sure - np.clip(sure - too_sure, 0, 1)
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        truth = np.abs(np.bincount(bins, gap, BINS)).sum() / LARGE
        drawn = calibration_intervals(random, pictures, too_sure)
        yield row("calibration error", f"{pictures:,} pictures, {too_sure:.0%} too sure", truth, drawn, SAMPLES // 2)


def calibration_intervals(random: np.random.Generator, pictures: int, too_sure: float) -> Drawn:
    while True:
        sure = random.beta(4, 2, pictures)
        right = random.random(pictures) < np.clip(sure - too_sure, 0, 1)
        _, low, high = calibration_error(sure, right, 300, int(random.integers(1 << 31)))
        yield low, high


def precision(random: np.random.Generator) -> Iterator[list[object]]:
    """Scores of pictures with a label lie so many standard deviations above those without."""
    for name, metric in (("eleven-point precision", eleven_point_precision), ("average precision", average_precision)):
        for pictures, classes, apart, labelled in ((1000, 20, 3.0, 0.05), (1000, 20, 1.5, 0.05), (300, 5, 1.5, 0.1)):
            has = random.random(LARGE) < labelled
            score = random.normal(size=LARGE) + apart * has
            truth = float(metric(score, has)(np.ones((1, LARGE)))[0])
            part = f"{pictures:,} pictures, {classes} labels, {labelled:.0%} of the pictures each"
            drawn = precision_intervals(random, metric, (pictures, classes), apart, labelled)
            yield row(name, part, truth, drawn, SAMPLES // 4)


def precision_intervals(
    random: np.random.Generator, metric: Callable[..., object], shape: tuple[int, int], apart: float, labelled: float
) -> Drawn:
    while True:
        has = random.random(shape) < labelled
        score = random.normal(size=shape) + apart * has
        found = precision_interval(score, has, metric, 150, int(random.integers(1 << 31)))  # type: ignore[arg-type]
        yield found.low, found.high


if __name__ == "__main__":
    main()
