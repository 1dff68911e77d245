"""What cameras, screens and files do: brightness, contrast, colour, stretching, pixels, JPEG. `values`: see constants.py."""

import functools
import io

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from evaluation.corruptions.pixels import Picture, Values, fractions, to_bytes, to_unit


def brightness(picture: Picture, values: Values, random: Generator) -> Picture:
    """Value of HSV raised; hue and saturation stay, so each channel grows by the factor that the largest one does; (rise,)."""
    unit = to_unit(picture)
    value = unit.max(axis=2, keepdims=True)
    raised = np.minimum(value + values[0], 1)
    return to_bytes(np.where(value > 0, unit * raised / np.maximum(value, 1e-9), raised))


def contrast(picture: Picture, values: Values, random: Generator) -> Picture:
    """Distance to the mean colour shrunk; (factor,)."""
    unit = to_unit(picture)
    mean = unit.mean(axis=(0, 1), keepdims=True)
    return to_bytes((unit - mean) * values[0] + mean)


def saturate(picture: Picture, values: Values, random: Generator) -> Picture:
    """Saturation of HSV times a factor, plus an offset; (factor, offset). A grey has hue 0, so an offset reddens it."""
    unit = to_unit(picture)
    value, low = unit.max(axis=2, keepdims=True), unit.min(axis=2, keepdims=True)
    saturation = np.divide(value - low, value, out=np.zeros_like(value), where=value > 0)
    wanted = np.clip(saturation * values[0] + values[1], 0, 1)
    # Each channel lies below the largest by saturation x (its share of the way), which the hue alone decides.
    share = np.divide(value - unit, value - low, out=np.tile([0.0, 1.0, 1.0], (*unit.shape[:2], 1)), where=value > low)
    return to_bytes(value - value * wanted * share)


def elastic_transform(picture: Picture, values: Values, random: Generator) -> Picture:
    """Rubber: three points of a square pulled, then every pixel by a smooth field; (strength, smoothness, pull), pixels."""
    strength, sigma, pull = values
    height, width = picture.shape[:2]
    unit = fractions(picture)
    middle, reach = np.array([height // 2, width // 2], np.float32), min(height, width) // 3
    corners = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]], np.float32)
    pulled = corners + random.uniform(-pull, pull, size=corners.shape).astype(np.float32)
    bent = cv2.warpAffine(
        unit, cv2.getAffineTransform(corners, pulled), (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    if strength:
        down, across = _smoothing(height, sigma), _smoothing(width, sigma)
        field = [down @ random.uniform(-1, 1, size=(height, width)) @ across.T * strength for _ in range(2)]
        y, x = np.mgrid[:height, :width]
        bent = cv2.remap(
            bent,
            (x + field[0]).astype(np.float32),
            (y + field[1]).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
    return to_bytes(np.asarray(bent))


@functools.lru_cache(maxsize=16)
def _smoothing(length: int, sigma: float) -> NDArray[np.float64]:
    """(length, length): a Gaussian cut at three sigma with mirrored edges, as a matrix.

    The widest is 1,025 taps on 224 pixels, where a product with this is some twenty times faster than the filter.
    """
    return np.asarray(gaussian_filter1d(np.eye(length), sigma, axis=0, mode="reflect", truncate=3.0))


def pixelate(picture: Picture, values: Values, random: Generator) -> Picture:
    """Shown at a lower resolution than the screen's; (factor,)."""
    height, width = picture.shape[:2]
    small = (max(1, int(width * values[0])), max(1, int(height * values[0])))
    image = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX)).copy()


def jpeg_compression(picture: Picture, values: Values, random: Generator) -> Picture:
    """Stored at a low JPEG quality; (quality,)."""
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=int(values[0]))
    return np.asarray(Image.open(stored).convert("RGB")).copy()
