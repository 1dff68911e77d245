"""What the corruptions share: uint8 to fractions and back, blurs, the zoom that keeps a picture's size, the moving camera."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Values = tuple[float, ...]


def to_unit(picture: Picture) -> NDArray[np.float64]:
    return picture.astype(np.float64) / 255


def fractions(picture: Picture) -> NDArray[np.float32]:
    """As `to_unit`, in half the memory; for what OpenCV filters."""
    return np.asarray(picture.astype(np.float32) / np.float32(255), np.float32)


def to_bytes(unit: NDArray[Any]) -> Picture:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def gaussian_blurred(unit: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian cut at four sigma, edges repeated."""
    side = 2 * int(4 * sigma + 0.5) + 1
    out = cv2.GaussianBlur(unit, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def zoomed(unit: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """The middle 1 / factor of the picture at the picture's size, linear between samples whose corners coincide."""
    for axis in (0, 1):
        unit = _zoomed_along(unit, factor, axis)
    return unit


def _zoomed_along(unit: NDArray[np.float32], factor: float, axis: int) -> NDArray[np.float32]:
    length = unit.shape[axis]
    middle = int(np.ceil(length / factor))
    first = (length - middle) // 2
    grown = max(length, round(middle * factor))
    start = (grown - length) // 2
    place = first + np.arange(start, start + length) * ((middle - 1) / max(1, grown - 1))
    below = np.minimum(place.astype(np.int64), length - 1)
    part = (place - below).astype(np.float32)
    above = np.minimum(below + 1, first + middle - 1)
    shape = [1] * unit.ndim
    shape[axis] = length
    low, high = unit.take(below, axis), unit.take(above, axis)
    return np.asarray(low + (high - low) * part.reshape(shape), np.float32)


def moved(picture: NDArray[Any], radius: float, sigma: float, degrees: float) -> NDArray[Any]:
    """A camera that moved: each pixel is the mean over 2 radius + 1 pixels in one direction, by half a Gaussian.

    Positions are rounded to whole pixels and edges repeated, as ImageMagick's motion blur does, which the published files
    were made with.
    """
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma * sigma))
    angle = np.deg2rad(degrees)
    x, y = (np.ceil(steps * part - 0.5).astype(int) for part in (np.cos(angle), np.sin(angle)))
    kernel = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1))
    np.add.at(kernel, (y - y.min(), x - x.min()), weights / weights.sum())
    anchor = (int(-x.min()), int(-y.min()))
    return np.asarray(cv2.filter2D(picture, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE))


def drawn_angle(random: Generator, between: Sequence[float]) -> float:
    low, high = between
    return float(random.uniform(low, high))
