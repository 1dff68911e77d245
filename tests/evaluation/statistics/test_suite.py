import numpy as np
import pytest
from scipy.stats import norm

from evaluation.statistics.intervals import Interval, wilson
from evaluation.statistics.suite import covers, suite_average


def test_an_average_says_which_tasks_it_covers() -> None:
    measured = {"b": Interval(0.5, 0.4, 0.7), "a": Interval(0.9, 0.8, 0.95), "z": Interval(0, 0, 0)}
    whole = suite_average("s", ["a", "b"], measured)
    assert whole is not None
    assert (whole.label, whole.tasks, whole.missing) == ("s", ("a", "b"), ())
    assert whole.value == pytest.approx(0.7)
    assert whole.low == pytest.approx(0.7 - (0.1**2 + 0.1**2) ** 0.5 / 2)
    part = suite_average("s", ["b", "a", "c"], measured)
    assert part is not None
    assert part.label == f"s, 2 of 3 tasks ({covers(['a', 'b'])})"
    assert part.covers == whole.covers
    assert suite_average("s", ["c"], measured) is None


def test_the_interval_of_an_average_holds_the_true_average() -> None:
    random = np.random.default_rng(0)
    shares, sizes = np.array([0.95, 0.6, 0.3]), (300, 1000, 150)
    held = 0
    for _ in range(400):
        measured = {str(n): wilson(random.binomial(sizes[n], shares[n]), sizes[n]) for n in range(3)}
        average = suite_average("s", list(measured), measured)
        assert average is not None
        held += average.low <= shares.mean() <= average.high
    assert 0.92 <= held / 400 <= 0.98


def test_the_interval_of_an_average_over_the_same_pictures_holds_too() -> None:
    """Ten probes on one test part, as STL-10's folds: taken for independent they held the true mean half as often as said."""
    random = np.random.default_rng(0)
    names = [f"stl10@fold-{number}" for number in range(10)]
    held, alone = 0, 0
    for _ in range(200):
        ease = random.normal(size=400)
        right = [int((ease + 0.3 * random.normal(size=400) < 1).sum()) for _ in names]
        measured = {name: wilson(count, 400) for name, count in zip(names, right, strict=True)}
        together = suite_average("s", names, measured, dict.fromkeys(names, "one list"))
        apart = suite_average("s", names, measured)
        assert together is not None
        assert apart is not None
        assert together.value == apart.value
        truth = norm.cdf(1 / 1.09**0.5)
        held += together.low <= truth <= together.high
        alone += apart.low <= truth <= apart.high
    assert alone / 200 < 0.7
    assert 0.93 <= held / 200 <= 1
    mixed = suite_average("s", ["a", "b", "c"], dict.fromkeys("abc", Interval(0.5, 0.4, 0.6)), {"a": "x", "b": "x"})
    assert mixed is not None
    assert mixed.high - 0.5 == pytest.approx((0.2**2 + 0.1**2) ** 0.5 / 3)
