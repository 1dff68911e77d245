"""The mode `sklearn`: a fit that stops where the installed scikit-learn stops.

Since scikit-learn 1.4 the objective is divided by the number of rows, so the same tolerance stops earlier than it did in
2021: scores of this mode depend on the version, which is named in every report.
"""

import warnings
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.probe.solver import Fit

MAX_ITERATIONS = 1000
SOLVER = (
    f"scikit-learn {metadata.version('scikit-learn')} LogisticRegression lbfgs, tol 1e-4, max_iter {MAX_ITERATIONS}"
)


def fit(features_NW: NDArray[np.floating], labels_N: NDArray[np.int64], classes: int, penalty: float) -> Fit:
    """Logistic regression on class positions below `classes`, all of which occur.

    Features go in as they are, not centred: where scikit-learn stops hangs on it.
    """
    model = _model(features_NW, labels_N, penalty)
    weights_WC, intercept_C = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
    if classes == 2:
        # scikit-learn fits one logit for two classes, with half the penalty's curvature; as two they are its halves.
        weights_WC, intercept_C = np.hstack([-weights_WC, weights_WC]) / 2, np.hstack([-intercept_C, intercept_C]) / 2
    objective, gradient_norm, squared = _certificate(model, features_NW, labels_N)
    iterations = int(model.n_iter_.max())
    gap = squared / (2 * penalty)
    return Fit(0, penalty, weights_WC, intercept_C, objective, gradient_norm, gap, iterations, iterations)


def fit_each(features_NW: NDArray[np.floating], targets_NC: NDArray[np.int64], penalty: float) -> Fit:
    """One classifier per column of 0 and 1, side by side; each without the rows that are -1 in it."""
    said = [column_N >= 0 for column_N in targets_NC.T]
    fits = [fit(features_NW[rows], column[rows], 2, penalty) for rows, column in zip(said, targets_NC.T, strict=True)]
    return Fit(
        0,
        penalty,
        np.stack([each.weights[:, 1] - each.weights[:, 0] for each in fits], axis=1),
        np.array([each.intercept[1] - each.intercept[0] for each in fits]),
        sum(each.objective for each in fits),
        max(each.gradient_norm for each in fits),
        sum(each.gap_bound for each in fits),
        max(each.evaluations for each in fits),
        max(each.steps for each in fits),
    )


def _certificate(
    model: Any, features_NW: NDArray[np.floating], labels_N: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Objective, the gradient's largest entry per picture, and its squared length by the weights."""
    shares_NC = model.predict_proba(features_NW)
    right_NC = labels_N[:, None] == model.classes_[None, :]
    wrong_NC = shares_NC - right_NC
    if len(model.classes_) == 2:  # one logit, so one column of gradient
        wrong_NC = wrong_NC[:, 1:]
    weights_CW = wrong_NC.T @ features_NW + model.coef_ / model.C
    steepest = max(np.abs(weights_CW).max(), np.abs(wrong_NC.sum(axis=0)).max())
    loss = -np.log(np.maximum(shares_NC[right_NC], np.finfo(float).tiny)).sum()
    return (
        float(loss + (model.coef_**2).sum() / (2 * model.C)),
        float(steepest / len(labels_N)),
        float((weights_CW**2).sum()),
    )


def _model(features_NW: NDArray[np.floating], labels_N: NDArray[np.int64], penalty: float) -> Any:
    # Half a second of CPU time, which other protocols need not spend.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # One thread: products this small lose more time at thread barriers than they gain, a hundredfold on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        # Reaching the iteration limit is part of the protocol; iterations and gradient are in the report.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=1 / penalty, max_iter=MAX_ITERATIONS).fit(features_NW, labels_N)
