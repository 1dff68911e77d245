"""The test of exchanged models against all its patterns counted out, and how often it calls equal models different."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation.statistics import ranked
from evaluation.statistics.compared import Resampled, difference
from evaluation.statistics.exchanged import OfOne, Ordered, exchanged_p
from evaluation.statistics.intervals import Interval

Column = NDArray[np.float64]


def one(scores_N: Column, right_N: NDArray[np.bool_], of_one: OfOne = ranked.roc_auc) -> list[Ordered]:
    return [Ordered(of_one, scores_N[:, None], right_N[:, None])]


def counted_out(values: list[float]) -> float:
    """Mid-p of the first of all patterns' differences."""
    far = np.abs(values)
    return float((far > far[0] + 1e-9).mean() + (np.abs(far - far[0]) <= 1e-9).mean() / 2)


@pytest.mark.parametrize(
    ("of_one", "theirs"), [(ranked.roc_auc, roc_auc_score), (ranked.average_precision, average_precision_score)]
)
def test_p_is_that_of_all_patterns(of_one: OfOne, theirs: object) -> None:
    random = np.random.default_rng(3)
    right_N = np.arange(10) % 2 == 0
    first, second = random.normal(size=10), random.normal(size=10) + right_N
    ranks = [rankdata(first), rankdata(second)]
    for clusters in (None, np.array([0, 0, 1, 1, 2, 3, 3, 4, 5, 5])):
        place_N = np.arange(10) if clusters is None else clusters
        values = []
        for coins in itertools.product((False, True), repeat=int(place_N.max()) + 1):
            swapped_N = np.array(coins)[place_N]
            pair = np.where(swapped_N, ranks[1], ranks[0]), np.where(swapped_N, ranks[0], ranks[1])
            values.append(theirs(right_N, pair[1]) - theirs(right_N, pair[0]))  # type: ignore[operator]
        p = exchanged_p(one(first, right_N, of_one), one(second, right_N, of_one), 4000, 0, clusters)
        assert p == pytest.approx(counted_out(values), abs=0.025)


def test_a_scale_of_ones_own_changes_nothing_and_equal_models_are_equal() -> None:
    random, right_N = np.random.default_rng(4), np.arange(60) % 3 == 0
    first, second = random.normal(size=60), random.normal(size=60) + right_N
    p = exchanged_p(one(first, right_N), one(second, right_N), 500, 0)
    assert p == exchanged_p(one(np.exp(3 * first) - 7, right_N), one(second, right_N), 500, 0)
    assert exchanged_p(one(first, right_N), one(np.exp(first), right_N), 500, 0) == 1
    assert p > exchanged_p(one(first, right_N), one(second + 2 * right_N, right_N), 500, 0)


def test_what_a_class_ignores_decides_nothing() -> None:
    random = np.random.default_rng(5)
    right_NC, first, second = random.random((40, 3)) < 0.4, random.normal(size=(40, 3)), random.normal(size=(40, 3))
    ignored_NC = (random.random((40, 3)) < 0.2) & ~right_NC
    wild = [np.where(ignored_NC, 1e6 * sign, scores) for sign, scores in ((1, first), (-1, second))]
    of = ranked.eleven_point_precision
    plain = exchanged_p([Ordered(of, first, right_NC, ignored_NC)], [Ordered(of, second, right_NC, ignored_NC)], 200, 0)
    assert plain == exchanged_p(
        [Ordered(of, wild[0], right_NC, ignored_NC)], [Ordered(of, wild[1], right_NC, ignored_NC)], 200, 0
    )


def test_of_equal_models_one_in_twenty_is_called_different_where_the_bootstrap_calls_more() -> None:
    """Ten thousand pairs: infra/benchmarks/paired_test_size.py."""
    random, calls, bold = np.random.default_rng(6), 0, 0
    of = ranked.eleven_point_precision
    for n in range(500):
        right_N = random.random(120) < 0.25
        both = random.normal(size=120) + right_N
        ordered = [one(both + random.normal(size=120), right_N, of) for _ in range(2)]
        first, second = (
            Resampled(of(each[0].scores[:, 0], right_N), Interval(0.5, 0.4, 0.6), tuple(each)) for each in ordered
        )
        found = difference(first, second, 120, 100, n)
        calls += found.p_value < 0.05
        bold += not found.low <= 0 <= found.high
        assert found.test == "models exchanged, mid-p"
    assert 12 <= calls <= 39
    assert calls < bold
