"""Linear probe: logistic regression on frozen features, with CLIP's search for the penalty (arXiv:2103.00020, A.3).

Features are penultimate (before the projection) and not normalised; the solver is scikit-learn's L-BFGS, at most 1000
iterations. The penalty lambda = 1/C lies on a grid of 97 points from 1e-6 to 1e6, eight per decade. Seven fits find the
best of every second decade; then the best point's neighbours at distance 8, 4, 2 and 1 are tried, so 15 fits at most.
The final fit is on training and validation part together, and the test part is looked at once.

N = pictures, W = feature width.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

GRID = np.logspace(-6, 6, 97)
MAX_ITERATIONS = 1000
VALIDATION_SHARE = 0.2
SOLVER = f"scikit-learn {sklearn.__version__} LogisticRegression lbfgs, tol 1e-4, max_iter {MAX_ITERATIONS}"
"""Named in every report: since scikit-learn 1.4 the same tolerance stops earlier, so scores depend on the version."""


@dataclass(frozen=True)
class Tried:
    """One point of the search."""

    penalty: float
    validation: float
    iterations: int


@dataclass(frozen=True)
class Probe:
    """A finished probe: the search in the order of its penalties, the final fit, its logits on the test part (N, C)."""

    search: tuple[Tried, ...]
    penalty: float
    iterations: int
    gradient_norm: float
    scores: NDArray[np.float64]


def search_grid(evaluate: Callable[[int], float]) -> tuple[int, dict[int, float]]:
    """CLIP's search over the positions of GRID: the best position and what each tried one gave.

    Of equal values the larger penalty wins, so that a flat curve does not end in an unregularised fit.
    """
    values: dict[int, float] = {}

    def tried(positions: list[int]) -> int:
        for position in positions:
            if 0 <= position < len(GRID) and position not in values:
                values[position] = evaluate(position)
        return max(values, key=lambda position: (values[position], position))

    best = tried(list(range(0, len(GRID), 16)))
    for distance in (8, 4, 2, 1):
        best = tried([best - distance, best + distance])
    return best, values


def probe(
    train_NW: NDArray[np.float32],
    labels_N: NDArray[np.int64],
    test_NW: NDArray[np.float32],
    score: Callable[[NDArray[np.int64], NDArray[np.int64]], float],
    seed: int,
) -> Probe:
    """Search, fit and answer; `score(labels, predictions)` is the task's own metric.

    Features are centred on the training part: the unpenalised intercept takes the mean up exactly, so the optimum is the
    same, and L-BFGS needs several times fewer steps because a transformer's features lie in a narrow cone.
    """
    mean_W = train_NW.mean(axis=0, dtype=np.float64)
    centred_NW, centred_test_NW = train_NW - mean_W, test_NW - mean_W
    held_out = validation_part(labels_N, seed)
    iterations: dict[int, int] = {}

    def evaluate(position: int) -> float:
        model = _fit(centred_NW[~held_out], labels_N[~held_out], GRID[position])
        iterations[position] = int(model.n_iter_.max())
        return score(labels_N[held_out], model.predict(centred_NW[held_out]))

    best, values = search_grid(evaluate)
    final = _fit(centred_NW, labels_N, GRID[best])
    return Probe(
        tuple(Tried(float(GRID[at]), values[at], iterations[at]) for at in sorted(values)),
        float(GRID[best]),
        int(final.n_iter_.max()),
        gradient_norm(final, centred_NW, labels_N),
        _class_scores(final, centred_test_NW, int(labels_N.max()) + 1),
    )


def validation_part(labels_N: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """A fifth of each class, drawn by seed, shape (N,). A class of one picture stays in training."""
    held_out = np.zeros(len(labels_N), bool)
    random = np.random.default_rng(seed)
    for label in np.unique(labels_N):
        members = random.permutation(np.flatnonzero(labels_N == label))
        held_out[members[: int(len(members) * VALIDATION_SHARE)]] = True
    return held_out


def gradient_norm(model: Any, features_NW: NDArray[np.float64], labels_N: NDArray[np.int64]) -> float:
    """Largest entry of the objective's gradient per picture: how far from the optimum the solver stopped."""
    wrong_NC = model.predict_proba(features_NW) - (labels_N[:, None] == model.classes_[None, :])
    weights_CW = wrong_NC.T @ features_NW + model.coef_ / model.C
    return float(max(np.abs(weights_CW).max(), np.abs(wrong_NC.sum(axis=0)).max()) / len(labels_N))


def _fit(features_NW: NDArray[np.float64], labels_N: NDArray[np.int64], penalty: float) -> Any:
    # One thread: products this small lose more time at thread barriers than they gain, a hundredfold on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        # Reaching the iteration limit is part of the protocol; iterations and gradient are in the report.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=1 / penalty, max_iter=MAX_ITERATIONS).fit(features_NW, labels_N)


def _class_scores(model: Any, features_NW: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Logits with a column for every class, -inf where training had no picture of it; two classes have one logit."""
    logits = model.decision_function(features_NW)
    scores_NC = np.full((len(features_NW), classes), -np.inf)
    scores_NC[:, model.classes_] = np.stack([-logits, logits], axis=1) / 2 if logits.ndim == 1 else logits
    return scores_NC
