"""Pictures with patches blacked out: does a model keep its answer? (Naseer et al. 2021, "Intriguing properties of vision
transformers", arXiv:2105.10497, section 3.1.)

Three orders in which patches go: at random, the most salient first, the least salient first. The paper takes a DINO model's
attention for saliency; here it is the spectral residual (Hou and Zhang 2007, CVPR), which needs no model, so that every model
is shown the very same pictures. Orders are nested: what is black at 30 % is black at 40 %.
"""

import functools
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.corruptions.pixels import Picture

OCCLUSIONS = ("occluded_random", "occluded_salient", "occluded_background")
GRID, SMALL_GRID, SMALL_SIDE = 14, 8, 112
SPECTRUM_SIDE = 64


def occluded(picture: Picture, which: str, per_cent: int, index: int, seed: int) -> Picture:
    """The middle square of `picture` with `per_cent` of its patches black: 14 x 14 of them, 8 x 8 under 112 pixels."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = picture[top : top + side, left : left + side].copy()
    grid = GRID if side >= SMALL_SIDE else min(SMALL_GRID, side)
    black = _order(square, which, grid, index, seed)[: round(grid * grid * per_cent / 100)]
    edges = np.round(np.linspace(0, side, grid + 1)).astype(int)
    for row, column in zip(*np.divmod(black, grid), strict=True):
        square[edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = 0
    return square


def _order(square: Picture, which: str, grid: int, index: int, seed: int) -> NDArray[np.int64]:
    """The patches' numbers in the order in which they go."""
    if which == "occluded_random":
        return np.random.default_rng([seed, zlib.crc32(which.encode()), index]).permutation(grid * grid)
    salience = cv2.resize(spectral_residual(square), (grid, grid), interpolation=cv2.INTER_AREA).ravel()
    # Rounded, so that the last bits of a transform do not decide between equal patches.
    ascending = np.argsort(np.round(salience, 6), kind="stable")
    return ascending if which == "occluded_background" else ascending[::-1]


def spectral_residual(square: Picture) -> NDArray[np.float32]:
    """(64, 64) in [0, 1]: what of the picture's spectrum its own smooth trend does not explain, back in space."""
    small = cv2.resize(
        cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), (SPECTRUM_SIDE, SPECTRUM_SIDE), interpolation=cv2.INTER_AREA
    )
    spectrum = np.fft.fft2(small.astype(np.float64))
    logarithm = np.log(np.abs(spectrum) + 1e-8)
    residual = logarithm - cv2.blur(logarithm, (3, 3))
    back = np.abs(np.fft.ifft2(np.exp(residual) * np.exp(1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(back, (0, 0), 2.5)
    return np.asarray(smooth / max(float(smooth.max()), 1e-12), np.float32)


@functools.cache
def shares(step_per_cent: int) -> tuple[int, ...]:
    """Shares in per cent: step, 2 x step, ... under 100."""
    return tuple(range(step_per_cent, 100, step_per_cent))
