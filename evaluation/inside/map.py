"""A map of features: points in the plane such that neighbours stay neighbours, by scikit-learn.

Principal components to 50 dimensions, then Isomap (Tenenbaum, de Silva and Langford 2000, Science 290), which has one solution:
no random start and no learning rate, so that equal features give an equal map, unlike t-SNE and UMAP.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 50
NEIGHBOURS = 10


class Map(NamedTuple):
    """`points` (N, 2) in [0, 1]; `trust` in [0, 1]: how far neighbours in the plane are neighbours among the features."""

    points: NDArray[np.float64]
    trust: float


def feature_map(features_ND: NDArray[np.floating]) -> Map:
    """The map of N >= 3 features, compared by direction as the models do."""
    import warnings

    from scipy.sparse import SparseEfficiencyWarning
    from sklearn.decomposition import PCA
    from sklearn.manifold import Isomap, trustworthiness

    features_ND = np.asarray(features_ND, np.float64)
    unit_ND = features_ND / np.maximum(np.linalg.norm(features_ND, axis=1, keepdims=True), 1e-12)
    count = len(unit_ND)
    small_NE = PCA(min(DIMENSIONS, count - 1, unit_ND.shape[1]), svd_solver="full").fit_transform(unit_ND)
    neighbours = min(NEIGHBOURS, (count - 1) // 2)
    if neighbours < 2:
        points_N2 = np.pad(small_NE, ((0, 0), (0, 2)))[:, :2]
        return Map(_in_unit_square(points_N2), 1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The number of connected components"
        )  # they are joined by their nearest points
        warnings.simplefilter("ignore", SparseEfficiencyWarning)
        points_N2 = Isomap(n_neighbors=neighbours, n_components=2, eigen_solver="dense").fit_transform(small_NE)
    trust = trustworthiness(unit_ND, points_N2, n_neighbors=neighbours)
    return Map(_in_unit_square(points_N2), float(trust))


def _in_unit_square(points_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stretched alike in both directions; turned so that the point farthest from the middle is right of and above it."""
    centred_N2 = points_N2 - points_N2.mean(axis=0)
    farthest = np.take_along_axis(centred_N2, np.abs(centred_N2).argmax(axis=0)[None], axis=0)[0]
    turned_N2 = centred_N2 * np.where(farthest < 0, -1, 1)
    reach = max(float(np.ptp(turned_N2, axis=0).max()), 1e-12)
    return np.asarray((turned_N2 - turned_N2.min(axis=0)) / reach)
