import numpy as np
import pytest
from scipy.stats import binom, binomtest

from evaluation.statistics.intervals import Interval, Statistic, apart, bootstrap
from evaluation.statistics.paired import exact_p, holm, mcnemar, mid_p, paired_bootstrap, swapped_signs

TEST_SIZES = (711, 1821, 1880, 2149, 3333, 3669, 4952, 6149, 8000, 10_000, 12_630, 19_850, 25_250, 32_768, 50_000)
"""Pictures in the test parts of CLIP's table 9."""


def test_p_values_equal_scipys_binomial_test() -> None:
    for b, c in ((0, 0), (0, 1), (3, 9), (9, 3), (20, 20), (150, 199)):
        exact = binomtest(b, b + c).pvalue if b + c else 1.0
        assert exact_p(b, c) == pytest.approx(exact, abs=1e-12)
        tie = (
            binomtest(b, b + c).pvalue - 2 * binomtest(min(b, c) - 1, b + c, alternative="less").pvalue
            if min(b, c)
            else 0
        )
        expected = 1.0 if b == c else exact - (tie / 2 if min(b, c) else 0.5 ** (b + c))
        assert mid_p(b, c) == pytest.approx(expected, abs=1e-12)


def test_of_ten_thousand_equal_pairs_one_in_twenty_is_called_different() -> None:
    """Two models that are equally good and split on 3 to 25 % of a benchmark's pictures, as CLIP models of a size do."""
    random = np.random.default_rng(0)
    pictures = random.choice(TEST_SIZES, 10_000)
    split = random.binomial(pictures, random.uniform(0.03, 0.25, 10_000))
    only_first = random.binomial(split, 0.5)
    rate = (mid_p(only_first, split - only_first) < 0.05).mean()
    assert 0.045 <= rate <= 0.055
    assert (exact_p(only_first, split - only_first) < 0.05).mean() < rate


def test_the_level_without_any_drawing_at_all() -> None:
    """Counted out: models that split on a picture with a chance p call b of m split pictures theirs, b ~ B(m, 1/2), m ~ B(n, p)."""
    calls_M = np.zeros(400)
    for split in range(1, 400):
        first = np.arange(split + 1)
        calls_M[split] = binom.pmf(first, split, 0.5)[mid_p(first, split - first) < 0.05].sum()
    for pictures, chances in (
        (100, (0.02, 0.05, 0.1, 0.25)),
        (300, (0.02, 0.1, 0.15, 0.3)),
        (711, (0.02, 0.05, 0.1, 0.3)),
    ):
        for chance in chances:
            rate = float(binom.pmf(np.arange(400), pictures, chance) @ calls_M)
            assert rate <= 0.0505
            # Of fewer than some thirty no set of whole numbers comes near: it stays below.
            assert rate >= 0.045 or pictures * chance < 30


def pairs(random: np.random.Generator, pictures: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Answers of two models to the same pictures, of which some are easy for both and some hard."""
    ease = random.beta(2, 1, pictures)
    return random.random(pictures) < ease, random.random(pictures) < np.minimum(ease + gain, 1)


def test_a_difference_is_found_with_its_interval() -> None:
    random = np.random.default_rng(1)
    covered, found = 0, 0
    for _ in range(200):
        first, second = pairs(random, 1500, 0.05)
        told = mcnemar(first, second)
        assert told.value == pytest.approx(second.mean() - first.mean())
        assert told.low <= told.value <= told.high
        covered += told.low <= 0.04750 <= told.high  # E[min(ease + 0.05, 1) - ease]: 0.05 but for the easiest pictures
        found += told.p_value < 0.05
    assert covered >= 180
    assert found >= 150
    none = mcnemar(first, first)
    assert (none.value, none.p_value) == (0, 1)


def test_swapped_signs_equal_all_sign_patterns_and_keep_their_level() -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=12)
    patterns = np.array([[1 - 2 * (n >> bit & 1) for bit in range(12)] for n in range(4096)])
    exact = (np.abs(patterns @ values) >= abs(values.sum()) - 1e-9).mean()
    nothing = np.zeros(12)
    assert swapped_signs(nothing, values, 4000, 0, span=(-4, 4)).p_value == pytest.approx(exact, abs=0.02)
    alike = np.repeat([0.0, 1.0, -1.0], [3, 7, 2])  # of equal differences only the number of swapped ones is drawn
    exact = (np.abs(patterns @ alike) > 5).mean() + (np.abs(patterns @ alike) == 5).mean() / 2
    assert swapped_signs(nothing, alike, 4000, 0, span=(-1, 1)).p_value == pytest.approx(exact, abs=0.02)
    ones = np.repeat([1.0, -1.0], [7, 2])  # right and wrong answers: McNemar's own
    assert swapped_signs(np.zeros(9), ones, 4000, 0, span=(-1, 1)).p_value == pytest.approx(
        float(mid_p(2, 7)), abs=0.02
    )
    assert swapped_signs(ones, ones, 100, 0).p_value == swapped_signs(ones, ones[::-1], 100, 0).p_value == 1
    calls = sum(
        swapped_signs(np.zeros(40), random.normal(size=40), 100, n, span=(-6, 6)).p_value < 0.05 for n in range(600)
    )
    assert 0.03 <= calls / 600 <= 0.07


def test_a_difference_of_means_over_classes_has_a_width_that_covers_it() -> None:
    groups, never, always = np.repeat([0, 1, 2], 8), np.zeros(24), np.ones(24)
    for first, second in ((never, never), (never, always), (always, always)):
        told = swapped_signs(first, second, 100, 0, groups)
        assert told.low <= told.value <= told.high
        assert told.high - told.low > 0.05
    random, covered = np.random.default_rng(8), 0
    groups = np.repeat(np.arange(5), [10, 20, 30, 40, 50])
    for n in range(400):
        ease = random.random((5, 1))[groups, 0]  # a new pair of models each time, of known mean difference
        first, second = random.random(150) < ease * 0.8, random.random(150) < ease
        truth = np.mean([0.2 * ease[groups == group][0] for group in range(5)])
        told = swapped_signs(first, second, 20, n, groups)
        covered += told.low <= truth <= told.high
    assert covered / 400 >= 0.93


def test_a_bootstrap_that_cannot_vary_takes_the_unpaired_interval() -> None:
    def sure(value: float) -> Statistic:
        return lambda weights: np.full(len(weights), value)

    unpaired = apart(Interval(0.5, 0.2, 0.8), Interval(1.0, 0.7, 1.0))
    told = paired_bootstrap(sure(0.5), sure(1.0), 10, 50, 0, unpaired)
    assert (told.low, told.high) == (unpaired.low, unpaired.high)
    assert unpaired.low == pytest.approx(0.5 - np.hypot(0.3, 0.3))
    assert 0.01 < told.p_value < 0.05


def group_mean(groups: np.ndarray, correct: np.ndarray) -> Statistic:
    belongs = (groups[:, None] == np.unique(groups)).astype(float)
    return lambda weights: (((weights * correct) @ belongs) / (weights @ belongs)).mean(axis=1)


def test_the_paired_bootstrap_keeps_its_level_for_means_over_classes() -> None:
    random = np.random.default_rng(3)
    groups = random.integers(0, 10, 600)
    calls = 0
    for n in range(300):
        first, second = pairs(random, 600)
        calls += paired_bootstrap(group_mean(groups, first), group_mean(groups, second), 600, 150, n).p_value < 0.05
    assert 0.02 <= calls / 300 <= 0.085


def test_the_paired_bootstrap_s_interval_is_that_of_the_differences() -> None:
    values = np.random.default_rng(4).normal(0.2, 1, (2, 500))
    told = paired_bootstrap(lambda w: w @ values[0] / 500, lambda w: w @ values[1] / 500, 500, 1000, 7)
    alone = bootstrap(lambda w: w @ (values[1] - values[0]) / 500, 500, 1000, 7)
    assert (told.low, told.high) == pytest.approx((alone.low, alone.high))


def test_holm_equals_stepping_down_by_hand() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005, 0.5]
    assert holm(p_values) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.5])
    assert holm([]) == []
