"""Few-shot by least squares in closed form, as big_vision does it (Dosovitskiy et al. 2021, arXiv:2010.11929; Zhai et al.
2022, arXiv:2106.04560, `fewshot_lsr`): no search and no iterations.

Features are standardised by the shots' own mean and deviation, x <- (x - mean) / (deviation + 1e-5), and get a constant 100
as an almost unpenalised intercept; targets are +1 for the right class and -1 for the others; ridge regression with
penalty 2^10. One eigendecomposition, of features by features or rows by rows, whichever is smaller, serves every penalty.

N = shots, D = features, C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONSTANT = 100.0
ROOM = 1e-5


@dataclass(frozen=True)
class Ridge:
    """A classifier: scores are standardised features @ weights (D + 1, C)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weights: NDArray[np.float64]

    def scores(self, features_ND: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, C)."""
        out: NDArray[np.float64] = standardised(features_ND, self.mean, self.deviation) @ self.weights
        return out


def ridges(
    features_ND: NDArray[np.floating], labels_N: NDArray[np.int64], classes: int, penalties: Sequence[float]
) -> list[Ridge]:
    """A ridge classifier per penalty: (Z'Z + penalty)^-1 Z'Y, which is Z'(ZZ' + penalty)^-1 Y."""
    mean_D = features_ND.mean(axis=0, dtype=np.float64)
    deviation_D = features_ND.std(axis=0, dtype=np.float64)
    rows_NE = standardised(features_ND, mean_D, deviation_D)
    targets_NC = np.where(labels_N[:, None] == np.arange(classes), 1.0, -1.0)
    few_rows = len(rows_NE) < rows_NE.shape[1]
    spectrum, axes = np.linalg.eigh(rows_NE @ rows_NE.T if few_rows else rows_NE.T @ rows_NE)
    turned = axes.T @ (targets_NC if few_rows else rows_NE.T @ targets_NC)
    found = []
    for penalty in penalties:
        solved = axes @ (turned / (spectrum + penalty)[:, None])
        found.append(Ridge(mean_D, deviation_D, rows_NE.T @ solved if few_rows else solved))
    return found


def standardised(
    features_ND: NDArray[np.floating], mean_D: NDArray[np.float64], deviation_D: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, D + 1), the constant last."""
    scaled_ND = (features_ND - mean_D) / (deviation_D + ROOM)
    return np.hstack([scaled_ND, np.full((len(scaled_ND), 1), CONSTANT)])
