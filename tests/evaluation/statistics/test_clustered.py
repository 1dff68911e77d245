"""Captions of one picture: the interval against a bootstrap of pictures, what it covers, and the test that swaps whole pictures."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from evaluation.statistics.clustered import clustered_interval
from evaluation.statistics.compared import Means, difference
from evaluation.statistics.intervals import mean_interval, wilson
from evaluation.statistics.paired import mcnemar, swapped_signs


def drawn(
    random: np.random.Generator, pictures: int, uneven: bool = False
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Hits and pictures of captions, 5 each or 1 to 8, half of whose ease is their picture's; 1/2 of all are hit."""
    counts = random.integers(1, 9, pictures) if uneven else np.full(pictures, 5)
    clusters = np.repeat(np.arange(pictures), counts)
    ease = 2 * random.normal(size=pictures)[clusters] + 2 * random.normal(size=len(clusters))
    return random.random(len(clusters)) < expit(ease), clusters


def test_one_answer_a_cluster_is_the_interval_of_independent_ones() -> None:
    random = np.random.default_rng(0)
    for values, span in (
        (random.random(40) < 0.8, (0.0, 1.0)),
        (random.uniform(-1, 1, 30), (-1.0, 1.0)),
        (np.ones(9), (0.0, 1.0)),
    ):
        found = clustered_interval(values, random.permutation(len(values)), span)
        assert found == pytest.approx(mean_interval(values, span=span))
    with pytest.raises(ValueError, match="nothing"):
        clustered_interval([], [])


def test_the_width_is_that_of_a_bootstrap_of_pictures() -> None:
    random = np.random.default_rng(1)
    hits, clusters = drawn(random, 600, uneven=True)
    sums, sizes = np.bincount(clusters, hits), np.bincount(clusters)
    weights = random.multinomial(600, np.full(600, 1 / 600), 4000)
    low, high = np.quantile((weights @ sums) / (weights @ sizes), [0.025, 0.975])
    found = clustered_interval(hits, clusters)
    assert found.value == pytest.approx(hits.mean())
    assert found.high - found.low == pytest.approx(high - low, rel=0.06)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_it_covers_where_the_interval_of_single_captions_does_not() -> None:
    random, covered, naive = np.random.default_rng(2), 0, 0
    for n in range(600):
        hits, clusters = drawn(random, 150, uneven=n % 2 == 0)
        for which, found in enumerate((clustered_interval(hits, clusters), wilson(int(hits.sum()), len(hits)))):
            inside = found.low <= 0.5 <= found.high
            covered, naive = (covered + inside, naive) if which == 0 else (covered, naive + inside)
    assert 0.93 <= covered / 600 <= 0.98
    assert naive / 600 < 0.88


def test_answers_all_alike_are_as_sure_as_their_pictures_are_many() -> None:
    clusters = np.repeat(np.arange(40), 5)
    for values in (np.zeros(200), np.ones(200)):
        found, pictures = clustered_interval(values, clusters), wilson(int(values[0]) * 40, 40)
        assert found == pytest.approx(pictures, abs=1e-9)
        assert found.low <= found.value <= found.high


def test_whole_pictures_are_swapped_as_all_patterns_of_signs_say() -> None:
    random = np.random.default_rng(3)
    clusters = random.permutation(np.repeat(np.arange(9), 4))
    first, second = random.random((2, 36)) < 0.5
    sums = np.bincount(clusters, second.astype(float) - first)
    patterns = np.array(list(itertools.product((-1, 1), repeat=9))) @ sums
    exact = (np.abs(patterns) > abs(sums.sum())).mean() + (np.abs(patterns) == abs(sums.sum())).mean() / 2
    told = swapped_signs(first, second, 4000, 0, clusters=clusters)
    assert told.p_value == pytest.approx(exact, abs=0.02)
    assert told.value == pytest.approx(second.mean() - first.mean())
    assert told.low <= told.value <= told.high


def test_equal_models_are_called_different_as_often_as_asked_for_and_five_captions_are_no_five_pictures() -> None:
    random, calls, alone = np.random.default_rng(4), 0, 0
    for n in range(500):
        (first, clusters), (second, _) = drawn(random, 120), drawn(random, 120)
        means = [Means(each.astype(float), clusters=clusters) for each in (first, second)]
        told = difference(*means, len(first), 100, n)
        assert told.test == "signs of clusters swapped, mid-p"
        calls += told.p_value < 0.05
        alone += mcnemar(first, second).p_value < 0.05
    assert 0.03 <= calls / 500 <= 0.07
    assert alone / 500 > 0.09
