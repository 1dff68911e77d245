import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from evaluation.probe import sklearn_fit
from evaluation.probe.ladder import GRID, contenders, peak, search_grid
from evaluation.probe.linear_probe import How, probe, validation_part


def accuracy(right: np.ndarray, scores: np.ndarray) -> float:
    return float((right == scores.argmax(axis=1)).mean())


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
    best, values = search_grid(lambda positions: [-abs(position - peak) for position in positions])
    assert best == peak
    assert len(values) <= 15


def test_of_equal_penalties_the_middle_of_the_plateau_wins() -> None:
    def found(equal: range) -> int:
        return search_grid(lambda positions: [1.0 if position in equal else 0.0 for position in positions])[0]

    assert found(range(97)) == 48  # all alike: lambda 1, neither end of the grid
    assert found(range(41)) == 16  # the plateau that was tried ends at 32
    assert found(range(60, 97)) == 80
    assert found(range(30, 35)) == 32
    assert peak({0: 0.5, 16: 0.9, 32: 0.9, 48: 0.4, 64: 0.9}) == 32
    assert peak({0: 0.9, 16: 0.4, 32: 0.9}) == 32


def test_where_every_penalty_ranks_rightly_the_probe_also_calls_the_classes_rightly() -> None:
    (train, labels), (test, answers) = clouds(200, 0, 2), clouds(200, 1, 2)
    rank = train.copy(), test.copy()
    for rows, right in zip(rank, (labels, answers), strict=True):
        rows[:, 0] = 10 * right + rows[:, 1] / 10

    def area(right: np.ndarray, scores: np.ndarray) -> float:
        margins = scores[:, 1] - scores[:, 0]
        return float(margins[right == 1].min() > margins[right == 0].max())

    uneven = np.flatnonzero((labels == 0) | (np.arange(200) % 8 == 1))
    done = probe(rank[0][uneven], labels[uneven], rank[1], area, 0, How())
    assert len({each.validation for each in done.search}) == 1
    assert done.fit.penalty == pytest.approx(1)
    assert accuracy(answers, done.scores) == 1  # 0.5 under a penalty of 1e6, which calls all by the larger class


def test_the_validation_part_is_a_fifth_of_each_class() -> None:
    labels = np.array([0] * 50 + [1] * 10 + [2])
    held_out = validation_part(labels, seed=0)
    assert [int(held_out[labels == label].sum()) for label in range(3)] == [10, 2, 0]
    assert (held_out == validation_part(labels, seed=0)).all()
    assert (held_out != validation_part(labels, seed=1)).any()


@pytest.mark.parametrize("mode", ["exact", "sklearn"])
def test_the_probe_equals_the_plain_sequence_of_fits(mode) -> None:  # type: ignore[no-untyped-def]
    (train, labels), (test, answers) = clouds(150, 0), clouds(90, 1)
    done = probe(train, labels, test, accuracy, seed=0, how=How(mode))
    held_out = validation_part(labels, 0)

    def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> LogisticRegression:
        if mode == "sklearn":  # as it comes, on the features as they are
            return LogisticRegression(C=1 / penalty, max_iter=1000).fit(x, y)
        return LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-7).fit(x.astype(np.float64), y)

    for tried in done.search:
        slow = fit(train[~held_out], labels[~held_out], tried.penalty).predict(train[held_out])
        near = 0.04 if mode == "exact" else 0  # at the optimum a tie may break
        assert tried.validation == pytest.approx((slow == labels[held_out]).mean(), abs=near)
    final = fit(train, labels, done.fit.penalty)
    assert (done.scores.argmax(axis=1) == final.predict(test)).all()
    assert accuracy(answers, done.scores) > 0.8
    assert done.fit.gradient_norm < 1e-4 or mode == "sklearn"
    assert (probe(train, labels, test, accuracy, seed=0, how=How(mode)).scores == done.scores).all()


def noisy(count: int, width: int, classes: int, seed: int, fall: float, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Classes that overlap, a tenth of the labels wrong: penalties differ by single pictures of the validation part."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % classes)
    rows = apart * random.normal(size=(classes, width))[labels] + random.normal(size=(count, width))
    rows *= np.arange(1, width + 1) ** -fall * 10
    wrong = random.random(count) < 0.1
    return (rows + 2 * random.normal(size=width)).astype(np.float32), np.where(wrong, (labels + 1) % classes, labels)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fall", [0.4, 0.8])
def test_the_penalty_and_the_answers_are_those_of_a_search_at_tight_tolerance(seed: int, fall: float) -> None:
    rows, labels = noisy(330, 16, 5, seed, fall, 0.5)
    fast = probe(rows[:250], labels[:250], rows[250:], accuracy, 0, How())
    slow = probe(rows[:250], labels[:250], rows[250:], accuracy, 0, How(precision=torch.float64, search_gap=1e-7))
    assert fast.fit.penalty == slow.fit.penalty
    assert (fast.scores.argmax(axis=1) == slow.scores.argmax(axis=1)).all()
    right = LogisticRegression(C=1 / slow.fit.penalty, max_iter=5000, tol=1e-8).fit(
        rows[:250].astype(float), labels[:250]
    )
    # scikit-learn stops a little above the optimum: a picture between two classes may differ.
    assert (right.predict(rows[250:].astype(float)) == fast.scores.argmax(axis=1)).sum() >= 79


def test_fits_that_may_win_are_solved_further() -> None:
    assert contenders({0: 0.8, 16: 0.9, 32: 0.895, 48: 0.5}, {16}, 100) == [32]
    assert contenders({0: 0.8, 16: 0.9, 32: 0.8}, set(), 100) == []
    assert contenders({0: 1.0, 16: 1.0, 32: 0.99, 48: 0.9}, set(), 100) == [16]
    assert contenders({0: 1.0, 16: 1.0, 32: 0.99, 48: 0.9}, {16}, 100) == []


def test_the_full_path_has_all_97_and_agrees_with_the_search() -> None:
    train, labels = clouds(60, 4)
    done = probe(train, labels, train, accuracy, 0, How(full_path=True))
    assert [each.penalty for each in done.path] == GRID.tolist()
    assert set(done.search) <= set(done.path)


def test_a_validation_part_of_the_benchmarks_own_chooses_and_is_learned_in_the_end() -> None:
    (train, labels), (own, own_labels) = clouds(60, 5), clouds(45, 6)
    done = probe(train, labels, own, accuracy, 0, How(), (own, own_labels))
    whole, both = np.concatenate([train, own]), np.concatenate([labels, own_labels])
    slow = LogisticRegression(C=1 / done.fit.penalty, max_iter=5000, tol=1e-9).fit(whole.astype(np.float64), both)
    np.testing.assert_allclose(done.fit.weights, slow.coef_.T, atol=3e-3)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # stopped early on purpose: far from the optimum
@pytest.mark.parametrize("classes", [2, 3])
def test_the_certificate_of_the_sklearn_mode_is_the_objectives_gradient(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sklearn_fit, "MAX_ITERATIONS", 3)
    x, y = clouds(40, 2, classes)
    rows = x.astype(np.float64)
    found = sklearn_fit.fit(rows, y, classes, penalty=2.0)
    # Two classes are fitted with one logit, whose weights are the difference of two columns.
    weights = found.weights if classes > 2 else np.diff(found.weights, axis=1)
    intercept = found.intercept if classes > 2 else np.diff(found.intercept)

    def objective(coef: np.ndarray, constant: np.ndarray) -> float:
        logits = rows @ coef + constant
        if classes == 2:
            logits = np.hstack([np.zeros((40, 1)), logits])
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(40), y]
        return float(losses.sum() + (coef**2).sum())

    slopes = []
    for c in range(weights.shape[1]):
        for w in range(6):
            step = np.zeros_like(weights)
            step[w, c] = 1e-5
            slopes.append((objective(weights + step, intercept) - objective(weights - step, intercept)) / 2e-5)
        bias = np.eye(weights.shape[1])[c] * 1e-5
        slopes.append((objective(weights, intercept + bias) - objective(weights, intercept - bias)) / 2e-5)
    assert found.gradient_norm == pytest.approx(np.abs(slopes).max() / 40, rel=1e-4)
    assert found.objective == pytest.approx(objective(weights, intercept), rel=1e-9)


@pytest.mark.parametrize("mode", ["exact", "sklearn"])
def test_classes_without_training_pictures_get_their_columns(mode) -> None:  # type: ignore[no-untyped-def]
    x, y = clouds(40, 3, classes=2)
    two = probe(x, y, x, accuracy, 0, How(mode))
    assert two.scores.shape == (40, 2)
    gap = probe(x, y * 2, x, accuracy, 0, How(mode))
    assert gap.scores.shape == (40, 3)
    assert np.isneginf(gap.scores[:, 1]).all()
    assert (gap.scores.argmax(axis=1) == two.scores.argmax(axis=1) * 2).all()


@pytest.mark.parametrize("mode", ["exact", "sklearn"])
def test_several_labels_per_picture_and_one_that_nothing_has(mode) -> None:  # type: ignore[no-untyped-def]
    x, y = clouds(80, 7)
    labels = np.stack([y == 0, y != 1, np.zeros(80, bool)], axis=1).astype(np.int64)

    def right(wanted: np.ndarray, scores: np.ndarray) -> float:
        return float(((scores > 0) == wanted).mean())

    done = probe(x, labels, x, right, 0, How(mode))
    assert right(labels, done.scores) > 0.85
    assert np.isneginf(done.scores[:, 2]).all()
