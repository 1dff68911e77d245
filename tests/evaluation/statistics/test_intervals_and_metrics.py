import numpy as np
import pytest
from scipy.stats import binomtest

from evaluation.statistics.intervals import bootstrap_mean, clopper_pearson, resample_weights, wilson
from evaluation.statistics.metrics import Answers, confusion, mean_per_class, top1

CASES = [(0, 1), (1, 1), (0, 7), (7, 7), (3, 10), (345, 360), (1, 5000)]


@pytest.mark.parametrize(("successes", "trials"), CASES)
def test_intervals_of_a_proportion_equal_scipys(successes: int, trials: int) -> None:
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        for confidence in (0.95, 0.995):
            theirs = binomtest(successes, trials).proportion_ci(confidence, method=method)
            mine = ours(successes, trials, confidence)
            assert mine.low == pytest.approx(theirs.low, abs=1e-12)
            assert mine.high == pytest.approx(theirs.high, abs=1e-12)
            assert 0 <= mine.low <= mine.value <= mine.high <= 1


def test_no_trials_and_impossible_counts_have_no_interval() -> None:
    for successes, trials in ((0, 0), (3, 2), (-1, 4)):
        with pytest.raises(ValueError, match="have no interval"):
            wilson(successes, trials)


def test_the_bootstrap_by_weights_equals_resampling_by_hand() -> None:
    values = np.random.default_rng(1).random(30)
    weights = resample_weights(30, 200, seed=4)
    assert (weights.sum(axis=1) == 30).all()
    by_hand = [np.repeat(values, weight.astype(int)).mean() for weight in weights]
    interval = bootstrap_mean(values, 200, seed=4)
    assert interval.low == pytest.approx(np.quantile(by_hand, 0.025))
    assert interval.high == pytest.approx(np.quantile(by_hand, 0.975))
    assert interval == bootstrap_mean(values, 200, seed=4)


def test_the_bootstrap_interval_has_about_the_width_of_the_normal_one() -> None:
    values = np.random.default_rng(2).random(2000)
    interval = bootstrap_mean(values, 4000, seed=0)
    half = 1.96 * values.std() / 2000**0.5
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.05)


def test_metrics_equal_their_definitions() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, 50)
    answers = Answers(labels, np.where(random.random(50) < 0.7, labels, random.integers(0, 4, 50)), 5)
    assert top1(answers, 100, 0).value == (answers.labels == answers.predictions).mean()
    per_class = [(answers.predictions[labels == c] == c).mean() for c in range(4)]  # class 4 never occurs
    interval = mean_per_class(answers, 500, 0)
    assert interval.value == pytest.approx(np.mean(per_class))
    assert interval.low < interval.value < interval.high
    counts = confusion(answers)
    assert counts.sum() == 50
    assert all(counts[a, b] == ((labels == a) & (answers.predictions == b)).sum() for a in range(5) for b in range(5))
