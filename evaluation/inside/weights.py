"""What a vision transformer's own numbers show without any picture (Dosovitskiy et al. 2020, arXiv:2010.11929, figure 7).

W = width, p = patch in pixels, K = components, P = patches, T = tokens (P, and one before them with a class token).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Filters(NamedTuple):
    """`components` (K, p, p, 3) in [0, 1], each stretched by itself; `explained` (K,): its share of the filters' variance."""

    components: NDArray[np.float64]
    explained: NDArray[np.float64]


def principal_filters(kernel_W3pp: NDArray[np.floating], most: int = 28) -> Filters:
    """Principal components of the filters that turn pixels into tokens, the strongest first."""
    width, channels, rows, columns = kernel_W3pp.shape
    flat_WF = np.asarray(kernel_W3pp, np.float64).transpose(0, 2, 3, 1).reshape(width, -1)
    _, strength, directions_KF = np.linalg.svd(flat_WF - flat_WF.mean(axis=0), full_matrices=False)
    count = min(most, len(directions_KF))
    # A component and its negative are the same: the larger lobe is shown bright.
    sign_K1 = np.sign(directions_KF[:, :1] * 0 + np.take_along_axis(
        directions_KF, np.abs(directions_KF).argmax(axis=1)[:, None], axis=1
    ))  # fmt: skip
    shown_KF = (directions_KF * sign_K1)[:count]
    low, high = shown_KF.min(axis=1, keepdims=True), shown_KF.max(axis=1, keepdims=True)
    stretched = (shown_KF - low) / np.maximum(high - low, 1e-12)
    return Filters(stretched.reshape(count, rows, columns, channels), (strength**2 / (strength**2).sum())[:count])


def position_similarity(positions_TW: NDArray[np.floating], shown: int = 7) -> tuple[NDArray[np.float64], list[int]]:
    """(S, S, side, side) and the S rows (and columns) shown: the cosine of a patch's position with every other's.

    At most `shown` x `shown` patches, evenly spread over the grid, are asked; a class token's position stays out.
    """
    side = int(len(positions_TW) ** 0.5)
    grid_PW = np.asarray(positions_TW, np.float64)[-side * side :]
    unit_PW = grid_PW / np.maximum(np.linalg.norm(grid_PW, axis=1, keepdims=True), 1e-12)
    asked = np.unique(np.round(np.linspace(0, side - 1, min(side, shown))).astype(int))
    rows = (asked[:, None] * side + asked).ravel()
    return (unit_PW[rows] @ unit_PW.T).reshape(len(asked), len(asked), side, side), asked.tolist()


def patch_kernel(model: Any) -> NDArray[np.float32] | None:
    """(W, 3, p, p): the first layer of a model's image tower, None for a model without such a layer."""
    tower = getattr(model, "visual", None)
    stem = getattr(tower, "conv1", None)
    first = next(iter(stem.children()), stem) if stem is not None else None
    kernel = getattr(first, "weight", None)
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] != 3:
        return None
    return np.asarray(kernel.detach().float().cpu().numpy())


def patch_positions(model: Any) -> NDArray[np.float32] | None:
    """(T, W): the learned positions of a vision transformer or of iGPT, None for any other model."""
    tower = getattr(model, "visual", None)
    reader = tower if getattr(tower, "transformer", None) is not None else model if tower is None else None
    positions = getattr(reader, "positional_embedding", None)
    return None if positions is None else np.asarray(positions.detach().float().cpu().numpy())
