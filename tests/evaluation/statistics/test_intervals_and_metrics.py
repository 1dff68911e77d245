import tracemalloc

import numpy as np
import pytest
from scipy.stats import binomtest

from evaluation.pictures.pictures import Pictures
from evaluation.protocols.outcomes import add_classified_rows
from evaluation.protocols.protocol import Findings
from evaluation.protocols.truth import Truth
from evaluation.statistics.calibration import calibration_error, confidences, probabilities
from evaluation.statistics.clustered import means_interval
from evaluation.statistics.intervals import (
    area_interval,
    bootstrap,
    clopper_pearson,
    mean_interval,
    resample_weights,
    wilson,
)
from evaluation.statistics.metrics import METRICS, Answers, confusion, mean_per_class, precision_interval, top1
from evaluation.statistics.ranked import eleven_point_precision

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
    interval = bootstrap(lambda w: w @ values / 30, 30, 200, seed=4)
    assert interval.low == pytest.approx(np.quantile(by_hand, 0.025))
    assert interval.high == pytest.approx(np.quantile(by_hand, 0.975))
    assert interval == bootstrap(lambda w: w @ values / 30, 30, 200, seed=4)


def test_the_interval_of_a_mean_is_wilson_s_where_values_are_0_and_1_and_the_normal_one_of_many_values() -> None:
    for successes, trials in CASES:
        values = np.arange(trials) < successes
        assert mean_interval(values) == pytest.approx(wilson(successes, trials))
    values = np.random.default_rng(2).random(2000)
    for span in ((0.0, 1.0), (-0.5, 1.5)):
        found = mean_interval(values, span=span)
        half = 1.96 * values.std() / 2000**0.5
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)
        assert found.value == pytest.approx(values.mean())


def test_intervals_of_means_over_classes_cover_what_they_are_of() -> None:
    """400 test sets each of models on classes of many shapes, of few pictures and of one too: 5 % miss, on both sides alike."""
    random = np.random.default_rng(5)
    sets = {
        "right in some, wrong in others": ([0.99, 0.95, 0.9, 0.5, 0.03, 0.01], [10, 20, 15, 30, 12, 25]),
        "Aircraft": (np.full(100, 0.9), np.full(100, 33)),
        "many small": (np.full(300, 0.1), np.full(300, 4)),
        "of one picture": (random.beta(5, 2, 50), np.full(50, 1)),
        "of one or a hundred": (random.beta(5, 2, 50), np.repeat([1, 5, 100], [20, 20, 10])),
        "few": (np.full(10, 0.1), np.full(10, 12)),
    }
    for name, (share, counts) in sets.items():
        labels, truth = np.repeat(np.arange(len(counts)), counts), np.mean(share)
        drawn = [means_interval(random.random(len(labels)) < np.asarray(share)[labels], labels) for _ in range(400)]
        below, above = np.mean([truth < found.low for found in drawn]), np.mean([truth > found.high for found in drawn])
        assert below < 0.05, name
        assert above < 0.05, name
        assert below + above < 0.075, name


def test_the_interval_of_an_eleven_point_precision_does_not_count_its_bias_twice() -> None:
    """300 pictures of 5 classes, a tenth of them right: the interval lies to that side of the value on which the true one does."""
    random = np.random.default_rng(8)

    def drawn(pictures: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
        right = random.random((pictures, classes)) < 0.1
        return random.normal(size=(pictures, classes)) + 1.5 * right, right

    scores, right = drawn(400_000, 1)
    true = float(eleven_point_precision(scores[:, 0], right[:, 0])(np.ones((1, len(scores))))[0])
    found = [precision_interval(*drawn(300, 5), eleven_point_precision, 150, n) for n in range(80)]
    assert sum(each.low > true for each in found) <= 12
    assert sum(each.high < true for each in found) <= 4
    middle = np.mean([(each.low + each.high) / 2 - each.value for each in found])
    assert middle < 0


def test_no_metric_of_a_degenerate_model_has_an_interval_without_width() -> None:
    """All right, all wrong, one class always, everything alike: a bootstrap would be sure of each."""
    labels, classes = np.repeat(np.arange(6), 4), np.eye(6)
    models = {
        "right": classes[labels],
        "wrong": classes[(labels + 1) % 6],
        "one class": np.tile(classes[2], (24, 1)),
        "alike": np.zeros((24, 6)),
    }
    for scores in models.values():
        answers = Answers.of(scores, labels, folds_N=np.tile([0, 1], 12))
        two = Answers.of(scores[:, :2], labels % 2)
        found = {name: METRICS[name](answers, 200, 0) for name in METRICS if name != "roc_auc"}
        found |= {"roc_auc": METRICS["roc_auc"](two, 200, 0)}
        confidence = probabilities(50 * scores).max(axis=1)
        found["calibration_error"] = calibration_error(confidence, answers.correct, 200, 0)
        for interval in found.values():
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
            assert interval.high - interval.low > 0.05
    # The area's ends are those at which Newcombe's equation holds.
    sure = area_interval(1.0, 12, 12)
    a, mean = sure.low, 11.0
    variance = a * (1 - a) * (1 + mean * (1 - a) / (2 - a) + mean * a / (1 + a)) / 144
    assert 0.7 < a < 0.9
    assert (1 - a) ** 2 == pytest.approx(1.959964**2 * variance, rel=1e-5)
    never = area_interval(0.0, 12, 12)
    assert (never.low, never.high) == (0, pytest.approx(1 - a))
    assert area_interval(1 - 1e-12, 12, 12).low == pytest.approx(a)


def test_thousands_of_classes_need_no_more_memory_than_their_scores() -> None:
    random = np.random.default_rng(6)
    scores = random.random((6000, 1000), np.float32)
    labels = random.integers(0, 1000, 6000)
    pictures = Pictures("t", "t", {}, lambda at: None, 6000)  # type: ignore[arg-type, return-value]
    findings = Findings("t", "zero_shot")
    tracemalloc.start()
    answers = Answers.of(scores, labels)
    for name in ("top1", "mean_per_class", "top5"):
        METRICS[name](answers, 200, 0)
    confidences(scores, 100.0)
    add_classified_rows(
        findings,
        pictures,
        "ensemble",
        Truth(labels, None, np.arange(6000)),
        answers,
        list(map(str, range(1000))),
        100.0,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * scores.nbytes  # float64 of all scores alone would be twice them
    assert findings.outcome_table().num_rows == 6000


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
