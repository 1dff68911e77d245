"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719): a few operations drawn from a list, all at one magnitude.

The list, and what a magnitude means to each operation, are those of big_vision's pp/autoaugment.py (its `randaug(2,15)`, after TPU
EfficientNet's): magnitudes count to 10 and may exceed it, each operation that is drawn is done (that file draws a probability and
then does not read it), and grey (128) fills what comes in from outside. Contrast is Pillow's, about the mean grey; there it is
about the number of pixels / 256, by mistake.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from training.data.resize import Pixels

DRAWS_PER_LAYER = 4
"""Which operation, its sign, and two for a place."""
GREY = (128, 128, 128)
CUTOUT_PIXELS, TRANSLATE_PIXELS = 40, 100
"""At magnitude 10, for pictures of 224 pixels; scaled with the size."""
REFERENCE_SIZE = 224


def randaugment(pixels_3SS: Pixels, magnitude: float, draws: Sequence[float]) -> Pixels:
    """(3, S, S) uint8, changed by len(draws) / DRAWS_PER_LAYER operations."""
    picture = Image.fromarray(np.ascontiguousarray(pixels_3SS.transpose(1, 2, 0)))
    for first in range(0, len(draws), DRAWS_PER_LAYER):
        which, *rest = draws[first : first + DRAWS_PER_LAYER]
        picture = OPERATIONS[int(which * len(OPERATIONS))](picture, magnitude / 10, rest)
    return np.asarray(picture).transpose(2, 0, 1)


Operation = Callable[[Image.Image, float, Sequence[float]], Image.Image]


def _signed(value: float, draws: Sequence[float]) -> float:
    return -value if draws[0] < 0.5 else value


def _moved(picture: Image.Image, matrix: tuple[float, float, float, float, float, float]) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=GREY)


def _rotate(picture: Image.Image, level: float, draws: Sequence[float]) -> Image.Image:
    return picture.rotate(_signed(30 * level, draws), Image.Resampling.NEAREST, fillcolor=GREY)


def _shear_x(picture: Image.Image, level: float, draws: Sequence[float]) -> Image.Image:
    return _moved(picture, (1, _signed(0.3 * level, draws), 0, 0, 1, 0))


def _shear_y(picture: Image.Image, level: float, draws: Sequence[float]) -> Image.Image:
    return _moved(picture, (1, 0, 0, _signed(0.3 * level, draws), 1, 0))


def _pixels(most: int, picture: Image.Image, level: float) -> int:
    return round(most * level * picture.width / REFERENCE_SIZE)


def _translate_x(picture: Image.Image, level: float, draws: Sequence[float]) -> Image.Image:
    return _moved(picture, (1, 0, _signed(_pixels(TRANSLATE_PIXELS, picture, level), draws), 0, 1, 0))


def _translate_y(picture: Image.Image, level: float, draws: Sequence[float]) -> Image.Image:
    return _moved(picture, (1, 0, 0, 0, 1, _signed(_pixels(TRANSLATE_PIXELS, picture, level), draws)))


def _cutout(picture: Image.Image, level: float, draws: Sequence[float]) -> Image.Image:
    half = _pixels(CUTOUT_PIXELS, picture, level)
    x, y = int(draws[1] * picture.width), int(draws[2] * picture.height)
    pixels = np.array(picture)
    pixels[max(0, y - half) : y + half, max(0, x - half) : x + half] = GREY
    return Image.fromarray(pixels)


def _solarize_add(picture: Image.Image, level: float, draws: Sequence[float]) -> Image.Image:
    pixels = np.asarray(picture)
    lighter = np.minimum(pixels.astype(np.int16) + int(110 * level), 255).astype(np.uint8)
    return Image.fromarray(np.where(pixels < 128, lighter, pixels))


def _enhanced(kind: "Callable[[Image.Image], ImageEnhance._Enhance]") -> Operation:
    return lambda picture, level, draws: kind(picture).enhance(1.8 * level + 0.1)


OPERATIONS: tuple[Operation, ...] = (
    lambda picture, level, draws: ImageOps.autocontrast(picture),
    lambda picture, level, draws: ImageOps.equalize(picture),
    lambda picture, level, draws: ImageOps.invert(picture),
    _rotate,
    lambda picture, level, draws: ImageOps.posterize(picture, min(8, max(1, int(4 * level)))),
    lambda picture, level, draws: ImageOps.solarize(picture, int(256 * level)),
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Sharpness),
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
    _cutout,
    _solarize_add,
)
