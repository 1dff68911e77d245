"""How often do paired tests call two equally good models different? At a level of 5 % it should be 5 % of the time.

    make bench NAME=paired_test_size

10,000 pairs of simulated models per row. A picture has an ease for the first model; for the second the same one, or another from
the same beta distribution, so both are equally good and differ in which pictures they get right. How often the second simply
answers as the first decides on how many pictures they split. The tests see the answers alone. `openwit compare` uses the mid-p for
accuracies and recalls, swapped signs for means over classes, and the bootstrap for areas and average precision; captions of one
picture are in caption_clusters.py. It ends with 1 where McNemar's mid-p leaves 5 % +- 0.5 % on test parts of CLIP's table 9.

On a hundred pictures two models split on about twelve, and of so few no set of counts has a chance near 5 %: the mid-p stays below.
"""

import os
from collections.abc import Callable

import numpy as np
from harness import write_facts
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from evaluation.statistics.paired import exact_p, mid_p, paired_bootstrap, swapped_signs
from evaluation.statistics.ranked import eleven_point_precision, roc_auc

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


def area(statistic: str, pictures: int) -> list[object]:
    """Areas and average precision of two models whose scores are as good, and of which half is the same for both."""
    random = np.random.default_rng([7, pictures])
    calls, pairs = 0, PAIRS // 4
    of = {"area under the curve": roc_auc, "average precision, 11 points": eleven_point_precision}[statistic]
    for n in range(pairs):
        right = random.random(pictures) < random.uniform(0.3, 0.6)
        both, gain = random.normal(size=pictures), random.uniform(0.5, 2) * right
        one, other = (of(gain + both + random.normal(size=pictures), right) for _ in range(2))
        calls += paired_bootstrap(one, other, pictures, 200, n).p_value < LEVEL
    return told(f"{pictures:,}", f"{statistic}, paired bootstrap", calls, pairs)


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
        area("area under the curve", 500),
        area("average precision, 11 points", 500),
    ]
    rows = [*named, *small, *others]
    write_facts("paired_test_size", "simulated answers of equally good models", HEADINGS, rows)


if __name__ == "__main__":
    main()
