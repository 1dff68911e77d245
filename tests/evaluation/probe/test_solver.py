"""The solver against scikit-learn at tight tolerance (facts G rows 4 and 5), and against itself in every way it can be run."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from evaluation.probe.path import predicted
from evaluation.probe.solver import Fit, Job, Solver
from evaluation.probe.threads import Threads


def cone(count: int, width: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes along axes of falling variance, far from the origin, as a transformer's features are."""
    random = np.random.default_rng(seed)
    spread = 10 * np.arange(1, width + 1) ** -0.7
    labels = np.arange(count) % classes
    rows = (0.5 * random.normal(size=(classes, width))[labels] + random.normal(size=(count, width))) * spread
    return rows + 3 * random.normal(size=width), labels


def relu_digits(width: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """Random features of digits, rank-deficient up to rounding."""
    pixels, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    weights, bias = random.normal(size=(64, width)), 0.5 * random.normal(size=width)
    return np.maximum(pixels[:600] / 16 @ weights + bias, 0), labels[:600]


def objective(fit: Fit, rows: np.ndarray, labels: np.ndarray) -> float:
    logits = rows @ fit.weights + fit.intercept
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return float(losses.sum() + fit.penalty / 2 * (fit.weights**2).sum())


@pytest.mark.parametrize("make", [lambda: cone(300, 40, 5), lambda: relu_digits(64), lambda: cone(60, 100, 6)])
@pytest.mark.parametrize("penalty", [0.01, 1 / 0.316, 300.0])
def test_objective_and_answers_are_those_of_scikit_learn_at_tight_tolerance(make, penalty: float) -> None:  # type: ignore[no-untyped-def]
    rows, labels = make()
    slow = LogisticRegression(C=1 / penalty, max_iter=20000, tol=1e-12).fit(rows, labels)
    solver = Solver([rows], labels[None], labels.max() + 1)
    fit = solver.solve([Job(penalty)], tolerance=1e-11)[0]
    theirs = objective(Fit(0, penalty, slow.coef_.T, slow.intercept_, 0, 0, 0, 0, 0), rows, labels)
    assert fit.objective == pytest.approx(objective(fit, rows, labels), rel=1e-12)
    # Under the smallest penalty scikit-learn ends above the optimum at any tolerance: SciPy sees no more progress.
    assert fit.objective <= theirs * (1 + 1e-8)
    assert fit.objective == pytest.approx(theirs, rel=1e-8 if penalty > 1 else 1e-6)
    assert (fit.logits(rows).argmax(axis=1) == slow.predict(rows)).all()
    assert fit.objective - theirs <= fit.gap_bound + 1e-9 * theirs


@pytest.mark.parametrize("penalty", [0.01, 3.0, 300.0])
def test_a_penalty_on_two_classes_is_scikit_learns_on_their_one_logit(penalty: float) -> None:
    rows, labels = cone(300, 40, 2)
    slow = LogisticRegression(C=1 / penalty, max_iter=20000, tol=1e-12).fit(rows, labels)
    fit = Solver([rows], labels[None], 2).solve([Job(penalty)], tolerance=1e-11, settle=True)[0]
    logits = fit.logits(rows)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], slow.decision_function(rows), atol=1e-4, rtol=1e-4)
    losses = np.logaddexp(0, slow.decision_function(rows)) - labels * slow.decision_function(rows)
    theirs = float(losses.sum() + penalty / 2 * (slow.coef_**2).sum())
    assert theirs * (1 - 1e-6) <= fit.objective <= theirs * (1 + 1e-8)
    worse = Solver([rows], labels[None], 2).solve([Job(penalty)], tolerance=1e-3, settle=True)[0]
    assert worse.objective - fit.objective <= worse.gap_bound + 1e-9 * theirs


def steep(count: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Variances that fall over seven orders with a part of every class in each, as iGPT's layers and small transformers have."""
    random = np.random.default_rng(5)
    labels = np.arange(count) % classes
    rows = 1.2 * random.normal(size=(classes, width))[labels] + random.normal(size=(count, width))
    return rows * np.logspace(0, -3.5, width) + 2, labels


def newton(rows: np.ndarray, labels: np.ndarray, classes: int, penalty: float) -> float:
    """The optimum by Newton's method with the whole matrix of second derivatives."""
    features = np.hstack([rows - rows.mean(0), np.ones((len(rows), 1))])
    strength = np.repeat(np.r_[np.full(rows.shape[1], penalty), 0], classes)
    point, right = np.zeros(features.shape[1] * classes), np.eye(classes)[labels]

    def value(flat: np.ndarray) -> float:
        logits = features @ flat.reshape(-1, classes)
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
        return float(losses.sum() + (strength * flat**2).sum() / 2)

    for _ in range(60):
        logits = features @ point.reshape(-1, classes)
        shares = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        gradient = (features.T @ (shares - right)).ravel() + strength * point
        bent = shares[:, :, None] * (np.eye(classes) - shares[:, None, :])
        curvature = np.einsum("na,nb,ncd->acbd", features, features, bent, optimize=True).reshape(2 * [len(point)])
        step = -np.linalg.pinv(curvature + np.diag(strength), hermitian=True) @ gradient
        size = next((0.5**n for n in range(40) if value(point + 0.5**n * step) < value(point)), 0.0)
        point = point + size * step
    return value(point)


def test_the_tiniest_penalties_are_certified_where_variances_fall_over_seven_orders() -> None:
    rows, labels = steep(300, 16, 5)
    penalties = [1e-6, 1e-4, 1e-2]
    optima = [newton(rows, labels, 5, penalty) for penalty in penalties]
    for precision in (torch.float32, torch.float64):
        fits = Solver([rows], labels[None], 5, precision=precision).solve(
            [Job(each) for each in penalties], settle=True
        )
        for best, fit in zip(optima, fits, strict=True):
            assert fit.certified
            assert fit.gap_bound < 1e-5 * fit.objective
            assert best * (1 - 1e-9) <= fit.objective <= best * (1 + 1e-6)
        # 1,250 with a tenth of the mean variance as the least curvature
        assert sum(fit.evaluations for fit in fits) < 400


def test_where_rounding_ends_float32_a_fit_goes_on_in_float64() -> None:
    rows, labels = relu_digits(192)
    half, whole = (Solver([rows], labels[None], 10, precision=each) for each in (torch.float32, torch.float64))
    for penalty in (1e-4, 1.0):
        fit, right = half.solve([Job(penalty)], settle=True)[0], whole.solve([Job(penalty)], tolerance=1e-11)[0]
        assert fit.certified
        assert objective(fit, rows, labels) <= right.objective * (1 + 1e-6)


def test_an_estimated_fit_is_as_near_as_asked_in_fewer_evaluations_and_says_that_nothing_proves_it() -> None:
    saved = 0
    rows, labels = cone(1000, 80, 8)
    falling = rows * np.arange(1, 81) ** -1.0, np.where(np.random.default_rng(1).random(1000) < 0.2, 0, labels)
    for rows, labels in (falling, relu_digits(192), steep(300, 16, 5)):
        solver = Solver([rows], labels[None], labels.max() + 1, precision=torch.float32)
        for penalty in (1e-4, 1e-2, 1e4):
            best = solver.solve([Job(penalty)], tolerance=1e-9)[0].objective
            proved = solver.solve([Job(penalty)], tolerance=1e-3)[0]
            near = solver.solve([Job(penalty)], tolerance=1e-3, estimated=True)[0]
            assert near.objective <= best * (1 + 1e-3)
            assert near.evaluations <= proved.evaluations
            assert near.certified or near.evaluations < proved.evaluations
            saved += proved.evaluations - near.evaluations
            # The bound by the gradient, apart from what the intercept may add.
            assert near.certified <= (near.gap_bound <= 1e-3 * best)
    assert saved > 100


def test_parts_come_back_in_order_from_any_number_of_threads_and_an_error_in_one_is_raised() -> None:
    for count in (1, 2, 3):
        threads = Threads(count)
        assert list(threads.map(lambda each: each * each, range(40))) == [each * each for each in range(40)]
        with pytest.raises(ZeroDivisionError):
            list(threads.map(lambda each: 1 // each, [2, 1, 0]))
        threads.close()
        assert list(threads.map(abs, [-1, -2])) == [1, 2]
        threads.close()


def test_features_that_tell_nothing_end_at_once() -> None:
    labels = np.arange(200) % 3
    for rows in (np.ones((200, 10)), np.hstack([np.ones((200, 9)), 1e-7 * cone(200, 1, 3)[0]])):
        assert all(fit.evaluations < 20 for fit in Solver([rows], labels[None], 3).solve([Job(1e6), Job(1.0)]))


def test_the_bound_holds_and_float32_reaches_the_gap_that_is_promised() -> None:
    rows, labels = cone(400, 48, 8)
    penalties = [1e-2, 1.0, 1e2, 1e4]
    best = Solver([rows], labels[None], 8).solve([Job(each) for each in penalties], tolerance=1e-12)
    for precision in (torch.float32, torch.float64):
        for fit, exact in zip(
            Solver([rows], labels[None], 8, precision=precision).solve([Job(each) for each in penalties], settle=True),
            best,
            strict=True,
        ):
            gap = objective(fit, rows, labels) - exact.objective
            assert gap <= 1e-6 * exact.objective
            assert gap <= fit.gap_bound + 1e-8 * exact.objective


def test_fewer_evaluations_than_scikit_learns_way_to_the_same_gap() -> None:
    rows, labels = relu_digits(96)
    penalty, count = 1.0, 0
    fit = Solver([rows], labels[None], 10).solve([Job(penalty)])[0]
    best = Solver([rows], labels[None], 10).solve([Job(penalty)], tolerance=1e-11)[0].objective

    def plain(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal count
        weights = flat.reshape(-1, 10)
        logits = rows @ weights[:-1] + weights[-1]
        total = np.logaddexp.reduce(logits, axis=1)
        wrong = np.exp(logits - total[:, None])
        wrong[np.arange(len(labels)), labels] -= 1
        value = (total - logits[np.arange(len(labels)), labels]).sum() + penalty / 2 * (weights[:-1] ** 2).sum()
        count += value > best * (1 + 1e-6)
        gradient = np.vstack([rows.T @ wrong + penalty * weights[:-1], wrong.sum(axis=0)])
        return value / len(rows), gradient.ravel() / len(rows)

    minimize(plain, np.zeros(97 * 10), jac=True, method="L-BFGS-B", options={"maxiter": 1200, "maxfun": 1200, "gtol": 0, "ftol": 0})  # fmt: skip  # noqa: E501
    assert fit.evaluations * 5 <= count


def test_side_by_side_streamed_or_on_two_threads_the_answer_is_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows, labels = cone(2000, 16, 40)
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    stored = np.load(tmp_path / "rows.npy", mmap_mode="r")
    jobs = [Job(1e-2), Job(1.0), Job(1e3)]

    def solved(**how: object) -> list[Fit]:
        return Solver([stored], labels[None], 40, **how).solve(jobs, tolerance=1e-9)  # type: ignore[arg-type]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = solved()
        torch.set_num_threads(2)
        for mine, other in zip(alone, solved(), strict=True):
            assert (mine.weights == other.weights).all()
            assert (mine.intercept == other.intercept).all()
            assert mine.objective == other.objective
    finally:
        torch.set_num_threads(before)
    one_by_one = [Solver([stored], labels[None], 40).solve([job], tolerance=1e-9)[0] for job in jobs]
    for mine, other, single in zip(alone, solved(resident_bytes=0), one_by_one, strict=True):
        assert other.objective == pytest.approx(mine.objective, rel=1e-8)
        assert single.objective == pytest.approx(mine.objective, rel=1e-8)
        assert np.abs(other.weights - mine.weights).max() < 1e-3 * np.abs(mine.weights).max()


def test_float32_products_in_the_kernels_layout_are_those_of_plain_ones_on_any_number_of_threads() -> None:
    rows, labels = cone(1300, 21, 6)
    solver = Solver([rows], labels[None], 6)
    plain, laid_out = (solver.losses(each).objective for each in (torch.float64, torch.float32))
    weights = torch.from_numpy(np.random.default_rng(2).normal(size=(1, 3, solver.basis.axes.shape[2] + 1, 6)) * 0.1)
    assert laid_out.rows.laid_out is not None
    slow = plain([0], weights, curved=True)
    found = []
    for threads in (1, 2):
        laid_out.threads = Threads(threads)
        found.append(laid_out([0], weights, curved=True))
    for one, two, right in zip(*found, slow, strict=True):
        assert one is not None
        assert two is not None
        assert right is not None
        assert (one == two).all()
        assert float((one - right).abs().max()) < 1e-5 * float(right.abs().max())
    # The curvature by its definition: sum over pictures of x^2 p (1 - p), mean over classes.
    block = plain.rows.block([0], 0, 1300)[0]
    shares = (block @ weights[0, 0]).softmax(dim=1)
    assert slow[2] is not None
    torch.testing.assert_close(slow[2][0, 0], block.square().T @ (shares * (1 - shares)).mean(dim=1))


def test_along_a_path_of_penalties_each_optimum_is_predicted_from_those_before() -> None:
    rows, labels = cone(400, 48, 8)
    solver = Solver([rows], labels[None], 8)
    penalties = {80: 1e4, 64: 1e2, 48: 1.0, 32: 1e-2, 16: 1e-4}
    path: dict[int, Fit] = {}
    for position, penalty in penalties.items():
        path[position] = solver.solve([Job(penalty, 0, predicted(path, position))])[0]
    cold = solver.solve([Job(penalty) for penalty in penalties.values()])
    assert sum(fit.evaluations for fit in path.values()) < 0.8 * sum(fit.evaluations for fit in cold)
    for warm, fit in zip(path.values(), cold, strict=True):
        assert warm.objective == pytest.approx(fit.objective, rel=2e-6)
    between = predicted(path, 56)
    assert between is not None
    np.testing.assert_allclose(between.weights, (path[48].weights + path[64].weights) / 2)
    assert predicted(path, 48) is path[48]
    assert predicted({}, 3) is None


def test_many_sets_of_rows_at_once_are_each_solved_as_alone() -> None:
    sets = [cone(40, 60, 4, seed) for seed in range(3)]
    together = Solver([rows for rows, _ in sets], np.stack([labels for _, labels in sets]), 4)
    jobs = [Job(1.0, 0), Job(100.0, 1), Job(1.0, 1), Job(10.0, 2), Job(0.01, 0)]
    for job, fit in zip(jobs, together.solve(jobs, tolerance=1e-10), strict=True):
        rows, labels = sets[job.group]
        alone = Solver([rows], labels[None], 4).solve([Job(job.penalty)], tolerance=1e-10)[0]
        assert fit.objective == pytest.approx(alone.objective, rel=1e-9)
        assert fit.group == job.group
        np.testing.assert_allclose(fit.weights, alone.weights, atol=1e-4)


def test_a_warm_start_saves_evaluations_and_changes_nothing_else() -> None:
    rows, labels = cone(300, 40, 5)
    solver = Solver([rows], labels[None], 5)
    near = solver.solve([Job(1.2)])[0]
    cold, warm = solver.solve([Job(1.0)])[0], solver.solve([Job(1.0, 0, near)])[0]
    assert warm.evaluations < 0.9 * cold.evaluations
    assert warm.objective == pytest.approx(cold.objective, rel=2e-6)


def test_the_anchor_is_what_the_penalty_pulls_to() -> None:
    rows, labels = cone(30, 50, 3)
    anchor = np.random.default_rng(1).normal(size=(50, 3))
    solver = Solver([rows], labels[None], 3, anchor=anchor)
    far = solver.solve([Job(1e9)])[0]
    np.testing.assert_allclose(far.weights, anchor, atol=1e-5)
    fit = solver.solve([Job(2.0)], tolerance=1e-11)[0]

    def plain(flat: np.ndarray) -> float:
        weights = flat.reshape(-1, 3)
        logits = rows @ weights[:-1] + weights[-1]
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(30), labels]
        return float(losses.sum() + ((weights[:-1] - anchor) ** 2).sum())

    solution = np.vstack([fit.weights, fit.intercept])
    assert fit.objective == pytest.approx(plain(solution.ravel()), rel=1e-9)
    for seed in range(20):  # a minimum of a convex function: no step from it goes down
        step = np.random.default_rng(seed).normal(size=solution.shape) * 1e-3
        assert plain((solution + step).ravel()) >= fit.objective


def test_one_classifier_per_label_where_pictures_have_several() -> None:
    rows, _ = cone(200, 20, 4)
    wanted = (np.random.default_rng(3).normal(size=(200, 5)) + rows[:, :5] * 0.3 > 0.5).astype(np.int64)
    fit = Solver([rows], wanted[None], 5, "sigmoid").solve([Job(3.0)], tolerance=1e-12)[0]
    for label in range(5):
        slow = LogisticRegression(C=1 / 3.0, max_iter=20000, tol=1e-10).fit(rows, wanted[:, label])
        np.testing.assert_allclose(fit.weights[:, label], slow.coef_[0], atol=2e-5)
