"""Differences of models that learned from drawn pictures: the level is kept for other draws, not only for other pictures."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from evaluation.statistics import ranked
from evaluation.statistics.compared import Means, Resampled
from evaluation.statistics.drawn import Drawn, difference_over_draws, p_of
from evaluation.statistics.intervals import area_interval
from evaluation.statistics.paired import Difference

PICTURES = 400


def pairs(draws: int, spread: float, times: int, gain: float = 0.0, classes: int = 0) -> Iterator[tuple[Drawn, Drawn]]:
    """Two models that answer as well as each other but for `gain`, each of them better or worse by luck after every draw."""
    random = np.random.default_rng([draws, int(100 * spread), classes])
    groups = np.arange(PICTURES) % classes if classes else None
    for _ in range(times):
        ease_N = random.normal(0.5, 1, PICTURES)
        luck_2J = random.normal(0, spread, (2, draws, 1))
        own_2N = ease_N + random.normal(0, 0.5, (2, 1, PICTURES))  # what each model finds easy, after any draw
        yield_2JN = own_2N + luck_2J + np.array([0, gain])[:, None, None] > random.normal(0, 1, (2, draws, PICTURES))
        first, second = (
            Drawn(tuple(Means(right_N.astype(float), groups) for right_N in right_JN)) for right_JN in yield_2JN
        )
        yield first, second


def told(draws: int, spread: float, times: int, gain: float = 0.0, classes: int = 0) -> list[Difference]:
    return [
        difference_over_draws(*pair, PICTURES, 60, n)
        for n, pair in enumerate(pairs(draws, spread, times, gain, classes))
    ]


@pytest.mark.parametrize(
    ("draws", "spread", "classes", "least"),
    [(3, 0.3, 0, 0.02), (3, 0.1, 0, 0.005), (3, 0.0, 0, 0.0), (3, 0.3, 10, 0.02), (10, 0.3, 0, 0.03), (10, 0.1, 0, 0.02)],
)  # fmt: skip
def test_of_equal_models_one_in_twenty_at_most_is_called_different_whatever_was_drawn(
    draws: int, spread: float, classes: int, least: float
) -> None:
    found = told(draws, spread, 600, classes=classes)
    assert least <= np.mean([each.p_value < 0.05 for each in found]) <= 0.065
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= 0.935
    assert all(each.low <= each.value <= each.high for each in found)


def test_as_if_these_draws_were_all_there_are_a_quarter_would_be() -> None:
    calls = [
        difference_over_draws(Drawn((first.mean,)), Drawn((second.mean,)), PICTURES, 60, n).p_value < 0.05
        for n, (first, second) in enumerate(pairs(3, 0.3, 300))
    ]
    assert np.mean(calls) > 0.2


def test_a_gain_is_found_with_more_draws_and_its_interval_covers_it() -> None:
    found = told(10, 0.1, 100, gain=0.3)
    assert np.mean([each.p_value < 0.05 for each in found]) > 0.9
    # The margin varies by ease, own taste, luck and noise: 1 + 0.25 + 0.01 + 1.
    truth = float(norm.cdf(0.8 / 2.26**0.5) - norm.cdf(0.5 / 2.26**0.5))
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.93


def test_p_is_students_where_only_draws_vary_and_normal_where_only_pictures_do() -> None:
    apart = np.array([0.02, 0.05, 0.03, 0.06])
    scatter = apart.std(ddof=1) / 2
    assert p_of(apart.mean(), 0.0, scatter, 3) == pytest.approx(ttest_1samp(apart, 0).pvalue, rel=1e-6)
    assert p_of(0.03, 0.01, 0.0, 3) == pytest.approx(2 * norm.sf(3), rel=1e-6)
    assert p_of(0.0, 0.01, 0.01, 3) == 1
    assert p_of(0.5, 0.0, 0.0, 3) == 0
    assert p_of(0.5, 0.001, 1e-9, 1) < 1e-8


def test_it_is_never_narrower_than_for_these_draws_and_one_draw_says_that_it_is_one() -> None:
    for first, second in pairs(3, 0.0, 30):
        joint = difference_over_draws(first, second, PICTURES, 60, 0)
        alone = difference_over_draws(Drawn((first.mean,)), Drawn((second.mean,)), PICTURES, 60, 0)
        assert joint.low <= alone.low <= alone.high <= joint.high
        assert joint.p_value >= alone.p_value
        assert joint.test == "signs swapped, mid-p; Student's t over 3 draws"
        assert alone.test.endswith(", of one draw")
    # Draws of equal means that answer different pictures: no scatter, and still a width.
    crossed = tuple(Drawn(tuple(Means(row) for row in rows)) for rows in (np.zeros((2, 2)), np.eye(2)))
    joint = difference_over_draws(*crossed, 2, 60, 0)
    assert (joint.value, joint.high - joint.low > 0.5, joint.p_value > 0.05) == (0.5, True, True)


def test_areas_too() -> None:
    random, calls, alone = np.random.default_rng(5), 0, 0
    right_N = np.arange(120) % 2 == 0

    def area(luck: float, ease_N: np.ndarray) -> Resampled:
        statistic = ranked.roc_auc(ease_N + (1 + luck) * right_N + random.normal(0, 0.3, 120), right_N)
        return Resampled(statistic, area_interval(float(statistic(np.ones((1, 120)))[0]), 60, 60))

    for n in range(150):
        ease_N = random.normal(0, 1, 120)
        first, second = (Drawn(tuple(area(luck, ease_N) for luck in random.normal(0, 0.3, 3))) for _ in range(2))
        calls += difference_over_draws(first, second, 120, 100, n).p_value < 0.05
        alone += difference_over_draws(Drawn((first.mean,)), Drawn((second.mean,)), 120, 100, n).p_value < 0.05
    assert calls <= 12 < 25 < alone
