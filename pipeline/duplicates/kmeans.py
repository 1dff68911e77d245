"""Spherical k-means (Dhillon and Modha 2001) over a sample of unit vectors, in float32, on a GPU where there is one.

Deterministic: rows are given in a fixed order, the first of them are the first centroids, and similarities are rounded
before the largest is taken, so that another BLAS does not move rows between clusters.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from pipeline.errors import ConfigError

ROWS_AT_ONCE = 8192
DIGITS = 4


def unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((N, D) float32 of length 1, (N,) bool: which rows have a direction)."""
    whole = vectors.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        length = np.sqrt((whole**2).sum(axis=1))
        good = np.isfinite(length) & (length > 0)
        return np.where(good[:, None], whole / length[:, None], 0.0).astype(np.float32), good


def products(left_ND: np.ndarray, right_MD: np.ndarray, device: str) -> np.ndarray:
    """(N, M) float32: all inner products. Raises ConfigError where `cuda` is asked for and missing."""
    torch = _gpu(device)
    if torch is None:
        return np.asarray(left_ND @ right_MD.T)
    left, right = (torch.from_numpy(np.ascontiguousarray(each)).cuda() for each in (left_ND, right_MD))
    return np.asarray((left @ right.T).cpu().numpy())


@functools.cache
def _gpu(device: str) -> Any:
    """torch where a GPU shall and can be used, else None; it is not even imported where no driver is."""
    driver = Path("/proc/driver/nvidia").exists() or Path("/dev/nvidia0").exists()
    if device == "cpu" or (device == "auto" and not driver):
        return None
    import torch

    if torch.cuda.is_available():
        return torch
    if device == "cuda":
        raise ConfigError("curate.deduplicate.embeddings.device: 'cuda', but torch sees no GPU; take auto or cpu")
    return None


def nearest(vectors_ND: np.ndarray, centroids_KD: np.ndarray, probes: int, device: str) -> np.ndarray:
    """(N, probes) int64: the most similar centroids of each vector, best first; equals by number."""
    found = []
    for start in range(0, len(vectors_ND), ROWS_AT_ONCE):
        similar = np.round(products(vectors_ND[start : start + ROWS_AT_ONCE], centroids_KD, device), DIGITS)
        found.append(np.argsort(-similar, axis=1, kind="stable")[:, :probes] if probes > 1 else
                     similar.argmax(axis=1)[:, None])  # fmt: skip
    return np.concatenate([np.zeros((0, min(probes, len(centroids_KD))), np.int64), *found])


def kmeans(vectors_ND: np.ndarray, clusters: int, iterations: int, device: str) -> np.ndarray:
    """(K, D) float32 unit centroids, K <= clusters, of unit vectors in a random but fixed order."""
    centroids = vectors_ND[:clusters].copy()
    owner = np.full(len(vectors_ND), -1)
    for _ in range(iterations):
        now = nearest(vectors_ND, centroids, 1, device)[:, 0]
        if np.array_equal(now, owner):
            break
        owner = now
        belongs = csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=(len(centroids), len(owner)))
        means, good = unit(belongs @ vectors_ND.astype(np.float64))
        centroids[good] = means[good]  # an empty cluster stays where it was
    return centroids
