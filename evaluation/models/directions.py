"""Embeddings as directions: CLIP compares pictures and texts by the cosine between them (Radford et al. 2021, section 2.3)."""

import numpy as np
from numpy.typing import NDArray


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (..., D) scaled to length 1. A row of zeros has no direction and gives NaN, as do those with NaN or infinity.

    The square of a number beyond 1e19 or below 1e-22 is no float32: the length of such a row is infinite or 0, and divided by it
    every direction was the same, a score of guessing that looked like one. It is taken by its largest number first.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore", under="ignore"):
        length = np.linalg.norm(rows, axis=-1, keepdims=True)
        found: NDArray[np.float32] = rows / length
        odd = ~((length > 1e-15) & (length < 1e18))[..., 0]
        if odd.any():
            near = rows[odd] / np.abs(rows[odd]).max(axis=-1, keepdims=True)
            found[odd] = near / np.linalg.norm(near, axis=-1, keepdims=True)
        return found
