import numpy as np
import pytest

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
