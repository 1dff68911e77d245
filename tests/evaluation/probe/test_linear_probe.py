import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evaluation.probe import linear_probe
from evaluation.probe.linear_probe import GRID, gradient_norm, probe, search_grid, validation_part


def accuracy(right: np.ndarray, answered: np.ndarray) -> float:
    return float((right == answered).mean())


def clouds(count: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds far from the origin, as a transformer's features are."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(9).normal(size=(classes, 6))
    return (centres[labels] * 1.5 + random.normal(size=(count, 6)) + 7).astype(np.float32), labels


def test_the_grid_is_clips() -> None:
    assert len(GRID) == 97
    assert GRID[0] == pytest.approx(1e-6)
    assert GRID[-1] == pytest.approx(1e6)
    assert GRID[8] / GRID[0] == pytest.approx(10)


@pytest.mark.parametrize("peak", range(97))
def test_the_search_finds_a_single_peak_in_at_most_15_fits(peak: int) -> None:
    best, values = search_grid(lambda position: -abs(position - peak))
    assert best == peak
    assert len(values) <= 15


def test_of_equal_penalties_the_larger_wins() -> None:
    assert search_grid(lambda position: 1.0 if position < 40 else 0.0)[0] == 39


def test_the_validation_part_is_a_fifth_of_each_class() -> None:
    labels = np.array([0] * 50 + [1] * 10 + [2])
    held_out = validation_part(labels, seed=0)
    assert [int(held_out[labels == label].sum()) for label in range(3)] == [10, 2, 0]
    assert (held_out == validation_part(labels, seed=0)).all()
    assert (held_out != validation_part(labels, seed=1)).any()


def test_the_probe_equals_the_plain_sequence_of_fits() -> None:
    (train, labels), (test, answers) = clouds(150, 0), clouds(90, 1)
    done = probe(train, labels, test, accuracy, seed=0)
    held_out = validation_part(labels, 0)

    def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> LogisticRegression:
        return LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-7).fit(x.astype(np.float64), y)

    for tried in done.search:
        # Centring moves no optimum: raw features, solved tightly, rank the held-out part alike (a tie may break).
        slow = fit(train[~held_out], labels[~held_out], tried.penalty).predict(train[held_out])
        assert tried.validation == pytest.approx(accuracy(labels[held_out], slow), abs=0.04)
    final = fit(train, labels, done.penalty)
    assert (done.scores.argmax(axis=1) == final.predict(test)).mean() > 0.98
    assert accuracy(answers, done.scores.argmax(axis=1)) > 0.8
    assert done.gradient_norm < 1e-3


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # stopped early on purpose: far from the optimum
def test_the_gradient_is_the_objectives() -> None:
    x, y = clouds(40, 2)
    features = x.astype(np.float64)
    model = LogisticRegression(C=0.5, max_iter=3).fit(features, y)

    def objective(coef: np.ndarray, intercept: np.ndarray) -> float:
        logits = features @ coef.T + intercept
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(40), y]
        return float((losses.sum() + (coef**2).sum() / (2 * 0.5)) / 40)

    slopes = []
    for c in range(3):
        for w in range(6):
            step = np.zeros((3, 6))
            step[c, w] = 1e-5
            slopes.append(
                (objective(model.coef_ + step, model.intercept_) - objective(model.coef_ - step, model.intercept_))
                / 2e-5
            )
        bias = np.eye(3)[c] * 1e-5
        slopes.append(
            (objective(model.coef_, model.intercept_ + bias) - objective(model.coef_, model.intercept_ - bias)) / 2e-5
        )
    assert gradient_norm(model, features, y) == pytest.approx(np.abs(slopes).max(), rel=1e-4)


def test_two_classes_and_a_class_without_training_pictures_get_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_probe, "MAX_ITERATIONS", 50)
    x, y = clouds(40, 3, classes=2)
    two = probe(x, y, x, accuracy, 0)
    assert two.scores.shape == (40, 2)
    gap = probe(x, y * 2, x, accuracy, 0)
    assert gap.scores.shape == (40, 3)
    assert np.isneginf(gap.scores[:, 1]).all()
    assert (gap.scores.argmax(axis=1) == two.scores.argmax(axis=1) * 2).all()
