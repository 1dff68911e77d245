"""How often do paired tests call two equally good models different? At a level of 5 % it should be 5 % of the time.

    make bench NAME=paired_test_size

10,000 pairs of simulated models per row. A picture has an ease for the first model; for the second the same one, or another from
the same beta distribution, so both are equally good and differ in which pictures they get right. How often the second simply
answers as the first decides on how many pictures they split. The tests see the answers alone. `openwit compare` uses the mid-p for
accuracies and recalls, swapped signs for means over classes, exchanged models for areas and average precision (the bootstrap beside
it, whose interval is still told), and the bootstrap for calibration errors; clusters are in caption_clusters.py. It ends with 1
where McNemar's mid-p on test parts of CLIP's table 9, or the exchanged models of a class or several, leave 5 % +- 0.5 %.

"Another scale": the second model's scores are an exponential of what they would be. "Another shape": the second model's right
pictures scatter twice as far, at the same area, so that the two are equal in the area and not exchangeable. Calibration: one
model too sure and one too shy by as much.

On a hundred pictures two models split on about twelve, and of so few no set of counts has a chance near 5 %: the mid-p stays below.
"""

import os
from collections.abc import Callable

import numpy as np
from harness import write_facts
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import chi2, norm

from evaluation.statistics.calibration import binned_error
from evaluation.statistics.exchanged import OfOne, Ordered, exchanged_p
from evaluation.statistics.paired import exact_p, mid_p, paired_bootstrap, swapped_signs
from evaluation.statistics.ranked import average_precision, eleven_point_precision, roc_auc

PAIRS = int(os.environ.get("PAIRED_PAIRS", 10_000))
LEVEL = 0.05
TEST_SIZES = (711, 1821, 1880, 2149, 3333, 3669, 4952, 6149, 8000, 10_000, 12_630, 19_850, 25_250)
"""Pictures in the test parts of CLIP's table 9, without the largest, which behave as these."""
HEADINGS = ("pairs", "pictures", "split on, %", "McNemar, mid-p", "exact", "corrected chi-squared", "unpaired z")

P = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


def answers(random: np.random.Generator, pictures: int, shared: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Right or wrong on each picture, (N,), of two equally good models: on `shared` of the pictures they do the same."""
    spread = random.uniform(0.5, 4)
    right = random.uniform(0.3, 0.9)
    ease, other = (random.beta(spread * right, spread * (1 - right), pictures) for _ in range(2))
    first = random.random(pictures) < ease
    same = random.random(pictures) < shared
    own = random.random(pictures) < np.where(random.random(pictures) < 0.5, ease, other)
    return first, np.where(same, first, own)


def chi_squared(b: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        value = np.maximum(np.abs(b - c) - 1, 0) ** 2 / (b + c)
    return np.where(b + c > 0, chi2.sf(value, 1), 1.0)


def counted(sizes: tuple[int, ...], low: float, high: float) -> list[object]:
    """A row: rates of calls over pairs whose share of split pictures is about `low` to `high`."""
    random = np.random.default_rng([len(sizes), int(1000 * low)])
    cells = np.zeros((PAIRS, 4), np.int64)
    for n in range(PAIRS):
        first, second = answers(random, int(random.choice(sizes)), 1 - random.uniform(low, high) / 0.4)
        cells[n] = (first & ~second).sum(), (second & ~first).sum(), first.sum(), len(first)
    b, c, right, pictures = cells.T
    share = (right + (right - b + c)) / (2 * pictures)
    unpaired = 2 * norm.sf(np.abs(b - c) / np.sqrt(2 * pictures * share * (1 - share)))
    tests: list[P] = [mid_p, exact_p, chi_squared]
    rates = [(test(b, c) < LEVEL).mean() for test in tests] + [(unpaired < LEVEL).mean()]
    split = 100 * ((b + c) / pictures).mean()
    span = f"{sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else f"{sizes[0]:,}"
    return [f"{PAIRS:,}", span, f"{split:.1f}", *(f"{100 * rate:.2f} %" for rate in rates)]


def told(pictures: str, test: str, called: int, pairs: int) -> list[object]:
    """A row of a test that is no McNemar's, of fewer pairs: chance moves its rate by 0.3 to 0.4 %."""
    return [f"{pairs:,}", pictures, f"{test}: {100 * called / pairs:.2f} %", "", "", "", ""]


def per_class(even: bool) -> list[object]:
    """Means over classes, which McNemar's test does not fit; classes of one size make them as coarse as counts."""
    random = np.random.default_rng(9)
    calls, pairs = 0, PAIRS // 2
    for n in range(pairs):
        pictures = int(random.choice((711, 1880, 3333)))
        sizes = None if even else random.dirichlet(np.full(40, 3.0))
        groups = np.arange(pictures) % 37 if even else np.sort(random.choice(40, pictures, p=sizes))
        first, second = answers(random, pictures, 0.7)
        calls += swapped_signs(first, second, 200, n, groups).p_value < LEVEL
    classes = "37 classes of one size" if even else "40 uneven classes"
    return told("711 to 3,333", f"mean over {classes}, signs swapped", calls, pairs)


ORDERED: tuple[tuple[OfOne, str], ...] = (
    (roc_auc, "area under the curve"),
    (average_precision, "average precision"),
    (eleven_point_precision, "average precision, 11 points"),
)
Pair = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
SHAPE = 2.0
COINS, RESAMPLES = 100, 200
"""Of the exchanged models, whose level any number keeps, and of the bootstrap."""


def scored(random: np.random.Generator, pictures: int, kind: str) -> Pair:
    """Scores (N,) of two models that are as good, of whose noise half is the same for both, and which pictures are right."""
    right = random.random(pictures) < random.uniform(0.15, 0.6)
    both, gain = random.normal(size=pictures), random.uniform(0.5, 2)
    one, other = (both + random.normal(size=pictures) for _ in range(2))
    if kind == "another scale":
        return one + gain * right, np.exp(2 * (other + gain * right)), right
    if kind == "another shape":
        # Area = Phi(gain / sqrt(variance of right + of wrong)): 2 + 2, and 1 + SHAPE^2 + 2.
        other = both + random.normal(size=pictures) * np.where(right, SHAPE, 1)
        return one + gain * right, other + gain * np.sqrt((3 + SHAPE**2) / 4) * right, right
    return one + gain * right, other + gain * right, right


def ordered(of: OfOne, pictures: int, kind: str = "", classes: int = 1, per_cluster: int = 1) -> list[object]:
    """Rates of the exchanged models and, of one class, of the bootstrap on the first quarter of the pairs."""
    random = np.random.default_rng([7, pictures, classes])
    calls, bold, clusters = 0, 0, np.arange(pictures) // per_cluster
    for n in range(PAIRS):
        columns = [scored(random, pictures // per_cluster, kind) for _ in range(classes)]
        spread = 0.3 if per_cluster > 1 else 0.0
        first, second, right = (np.stack(each, axis=1)[clusters] for each in zip(*columns, strict=True))
        first, second = (each + spread * random.normal(size=each.shape) for each in (first, second))
        p = exchanged_p(
            [Ordered(of, first, right)], [Ordered(of, second, right)], COINS, n, clusters if per_cluster > 1 else None
        )
        calls += p < LEVEL
        if classes == per_cluster == 1 and n < PAIRS // 4:
            one, other = (of(each[:, 0], right[:, 0]) for each in (first, second))
            bold += paired_bootstrap(one, other, pictures, RESAMPLES, n).p_value < LEVEL
    rate = 100 * calls / PAIRS
    assert PAIRS < 10_000 or kind == "another shape" or 4.5 <= rate <= 5.5, (of, pictures, kind, rate)
    what = next(words for each, words in ORDERED if each is of)
    what += f", {classes} classes" if classes > 1 else ""
    what += f", {per_cluster} pictures a cluster" if per_cluster > 1 else ""
    beside = f" (bootstrap {100 * bold / (PAIRS // 4):.2f} %)" if classes == per_cluster == 1 else ""
    return [
        f"{PAIRS:,}",
        f"{pictures:,}",
        f"{what}{kind and ', ' + kind}, models exchanged: {rate:.2f} %{beside}",
        "",
        "",
        "",
        "",
    ]


def calibrated(kind: str, pictures: int) -> list[object]:
    """Calibration errors of two models whose errors are equal."""
    random = np.random.default_rng([8, pictures])
    calls, pairs = 0, PAIRS // 2
    for n in range(pairs):
        ease = random.normal(0.5, 1.2, pictures)
        logits = [ease + 0.7 * random.normal(size=pictures) for _ in range(2)]
        right = [random.random(pictures) < 0.1 + 0.8 * expit(each) for each in logits]
        shifts = {"as sure": (0.07, 0.07), "one too sure, one too shy": (0.07, -0.07)}[kind]
        sure = [0.1 + 0.8 * expit(each) + shift for each, shift in zip(logits, shifts, strict=True)]
        one, other = (binned_error(np.clip(each, 0, 1), hit) for each, hit in zip(sure, right, strict=True))
        calls += paired_bootstrap(one, other, pictures, RESAMPLES, n).p_value < LEVEL
    return told(f"{pictures:,}", f"calibration error, {kind}, paired bootstrap", calls, pairs)


def main() -> None:
    named = [
        counted(TEST_SIZES, 0.02, 0.25),
        counted(TEST_SIZES, 0.02, 0.05),
        counted(TEST_SIZES, 0.1, 0.25),
        counted((711,), 0.02, 0.25),
    ]
    for row in named:
        rate = float(str(row[3]).split()[0])
        assert PAIRS < 10_000 or 4.5 <= rate <= 5.5, row
    small = [counted((300,), 0.02, 0.25), counted((100,), 0.02, 0.25)]
    others = [
        per_class(even=False),
        per_class(even=True),
        ordered(roc_auc, 200),
        ordered(roc_auc, 200, "another scale"),
        ordered(roc_auc, 200, "another shape"),
        ordered(average_precision, 200),
        ordered(eleven_point_precision, 200),
        ordered(eleven_point_precision, 200, "another scale"),
        ordered(eleven_point_precision, 150, classes=4),
        ordered(eleven_point_precision, 300, per_cluster=3),
        calibrated("as sure", 500),
        calibrated("one too sure, one too shy", 500),
    ]
    rows = [*named, *small, *others]
    write_facts("paired_test_size", "simulated answers of equally good models", HEADINGS, rows)


if __name__ == "__main__":
    main()
