"""Weighted nearest neighbours (Wu et al. 2018, arXiv:1805.01978, section 3.4; DINO, arXiv:2104.14294): no training at all.

Features are scaled to length 1; each of the k most similar training pictures votes for its class with weight
exp(cosine / 0.07). Training pictures come in chunks and only the best so far are kept, so memory does not grow with their
number; every k is read off one list of the largest.

N = asked, M = training pictures, D = width, K = largest number of neighbours, C = classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

ASKED_ROWS, STORED_ROWS = 1024, 16384


def nearest(
    stored_MD: NDArray[np.floating],
    asked_ND: NDArray[np.floating],
    count: int,
    device: str = "cpu",
    precision: torch.dtype = torch.float64,
    stored_rows: int = STORED_ROWS,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Cosines and positions (N, count) of the most similar stored rows, best first; equals by position."""
    count = min(count, len(stored_MD))
    similar_NK, position_NK = [], []
    for first in range(0, len(asked_ND), ASKED_ROWS):
        asked_nD = _unit(asked_ND[first : first + ASKED_ROWS], device, precision)
        best_nK = torch.full((len(asked_nD), 0), -torch.inf, dtype=precision, device=device)
        where_nK = torch.zeros((len(asked_nD), 0), dtype=torch.int64, device=device)
        for start in range(0, len(stored_MD), stored_rows):
            cosine_nm = asked_nD @ _unit(stored_MD[start : start + stored_rows], device, precision).T
            positions_m = torch.arange(start, start + cosine_nm.shape[1], device=device)
            best_nK = torch.cat([best_nK, cosine_nm], dim=1)
            where_nK = torch.cat([where_nK, positions_m.expand(len(asked_nD), -1)], dim=1)
            best_nK, where_nK = _largest(best_nK, where_nK, count)
        similar_NK.append(best_nK.double().cpu().numpy())
        position_NK.append(where_nK.cpu().numpy())
    return np.concatenate(similar_NK), np.concatenate(position_NK)


def votes(
    similar_NK: NDArray[np.float64],
    labels_NK: NDArray[np.int64],
    classes: int,
    neighbours: Sequence[int],
    temperature: float,
) -> dict[int, NDArray[np.float64]]:
    """Share of the votes per class (N, C), for each number of neighbours."""
    weights_NK = np.exp((similar_NK - similar_NK[:, :1]) / temperature)
    found = {}
    for count in neighbours:
        total_NC = np.zeros((len(labels_NK), classes))
        rows = np.arange(len(labels_NK))
        for rank in range(min(count, labels_NK.shape[1])):
            total_NC[rows, labels_NK[:, rank]] += weights_NK[:, rank]
        found[count] = total_NC / total_NC.sum(axis=1, keepdims=True)
    return found


def _largest(values_nm: torch.Tensor, positions_nm: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest, best first; of equal ones those in front, which have the lower positions."""
    if values_nm.shape[1] > count:
        best_nK, chosen_nK = values_nm.topk(count, dim=1)
        # topk takes any of equal ones: where some were left out, a stable sort decides.
        tied = torch.nonzero((values_nm >= best_nK[:, -1:]).sum(dim=1) > count)[:, 0]
        chosen_nK[tied] = values_nm[tied].sort(dim=1, descending=True, stable=True).indices[:, :count]
        values_nm, positions_nm = values_nm.gather(1, chosen_nK), positions_nm.gather(1, chosen_nK)
    by_position = positions_nm.argsort(dim=1)
    values_nm, positions_nm = values_nm.gather(1, by_position), positions_nm.gather(1, by_position)
    values_nm, order_nK = values_nm.sort(dim=1, descending=True, stable=True)
    return values_nm, positions_nm.gather(1, order_nK)


def _unit(rows: NDArray[np.floating], device: str, precision: torch.dtype) -> torch.Tensor:
    loaded = torch.from_numpy(np.array(rows)).to(device=device, dtype=precision)
    return loaded / loaded.norm(dim=1, keepdim=True).clamp(min=1e-30)
