"""Blurs: lens, glass, motion, zoom and the plain Gaussian. `values` is the row of constants.py."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from evaluation.corruptions.pixels import (
    Picture,
    Values,
    drawn_angle,
    fractions,
    gaussian_blurred,
    moved,
    to_bytes,
    zoomed,
)


def gaussian_blur(picture: Picture, values: Values, random: Generator) -> Picture:
    """(standard deviation in pixels,)."""
    return to_bytes(gaussian_blurred(fractions(picture), values[0]))


def defocus_blur(picture: Picture, values: Values, random: Generator) -> Picture:
    """A lens out of focus: a disc, its edge softened against aliasing; (radius, softness)."""
    radius, softness = values
    reach = max(8, int(radius))
    side = 3 if radius <= 8 else 5
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.float32)
    soft = cv2.GaussianBlur(disc / disc.sum(), (side, side), softness)
    used = np.flatnonzero(soft.any(axis=0))  # of a small disc most of the square is empty
    soft = soft[used[0] : used[-1] + 1, used[0] : used[-1] + 1]
    return to_bytes(np.asarray(cv2.filter2D(fractions(picture), -1, soft)))


def glass_blur(picture: Picture, values: Values, random: Generator) -> Picture:
    """Frosted glass: each pixel takes the value of one near by, between two blurs; (sigma, reach, rounds).

    The pixels are gone through from the last to the first, and what was taken may be taken again. Published files were made
    so: the exchange that their code writes is a copy, as both names see the same memory.
    """
    sigma, reach, rounds = values[0], int(values[1]), int(values[2])
    blurred = np.floor(gaussian_blurred(fractions(picture), sigma) * 255).astype(np.uint8)
    height, width = picture.shape[:2]
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    here = (rows[:, None] * width + columns).ravel()
    origin = list(range(height * width))
    for _ in range(rounds):
        across, down = random.integers(-reach, reach, size=(2, len(here)))
        for to, source in zip(here.tolist(), (here + down * width + across).tolist(), strict=True):
            origin[to] = origin[source]
    shuffled = blurred.reshape(-1, 3)[origin].reshape(picture.shape)
    return to_bytes(gaussian_blurred(fractions(shuffled), sigma))


def motion_blur(picture: Picture, values: Values, random: Generator) -> Picture:
    """A camera that moved at an angle within 45 degrees of the horizontal; (radius, sigma)."""
    return np.asarray(moved(picture, values[0], values[1], drawn_angle(random, (-45, 45))), np.uint8)


def zoom_blur(picture: Picture, values: Values, random: Generator) -> Picture:
    """A camera that came nearer: the mean of the picture and its zooms; (last zoom, step)."""
    unit = fractions(picture)
    factors = np.arange(1, values[0], values[1])
    total: NDArray[np.float32] = unit.copy()
    for factor in factors:
        total += zoomed(unit, float(factor))
    return to_bytes(total / (len(factors) + 1))
