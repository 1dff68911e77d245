"""What each paper does to a picture before the model sees it: which box is cut out, mirroring, RandAugment.

square       CLIP (arXiv:2103.00020, section 2.3): a random square.
inception    ViT (arXiv:2010.11929, appendix B.1; the box of Szegedy et al. 2015): 5-100 % of the area, 3:4 to 4:3.
short_side   iGPT (Chen et al. 2020, section 3.2): shorter side 256 to 384, a random square of 224, then the model's size;
             here the same square is cut from the original and resized once.
none         the middle square.

All that is random comes in as draws in [0, 1), which are functions of seed, epoch and sample (training/data/order.py).
"""

import math
from collections.abc import Sequence

import numpy as np

from training.data.config import DataConfig
from training.data.order import Floats, Integers, picture_draws
from training.data.randaugment import DRAWS_PER_LAYER, randaugment
from training.data.resize import Box, Pixels
from training.data.transforms import middle_square, random_square

ATTEMPTS = 10
"""Boxes that are tried before the middle is taken; the same number as torchvision's."""
BOX_DRAWS = {"square": 3, "inception": 4 * ATTEMPTS, "short_side": 3, "none": 0}


class Augmentation:
    """The augmentation of a run; `box` and `change` of one picture from the draws of its row."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        self._config, self._seed = config, seed
        self._boxes = BOX_DRAWS[config.augmentation]
        self._count = self._boxes + 1 + config.randaugment_layers * DRAWS_PER_LAYER

    def draws(self, samples: Integers, epochs: Integers) -> Floats:
        """(N, ...) what `box` and `change` need for each sample."""
        if self._config.augmentation == "square":  # the first seven have always been these; `disturb` has 3 to 6
            first = picture_draws(self._seed, samples, epochs, 3)
            others = picture_draws(self._seed, samples, epochs, self._count - 3, "augmentation")
            return np.concatenate([first, others], axis=1)
        return picture_draws(self._seed, samples, epochs, self._count, "augmentation")

    def box(self, width: int, height: int, draws: Sequence[float]) -> Box:
        """Where in a picture of this size is cut; inside it."""
        kind = self._config.augmentation
        if kind == "square":
            return random_square(width, height, self._config.min_crop_side_fraction, *draws[:3])
        if kind == "inception":
            return inception_box(width, height, self._config.min_crop_area, draws[: 4 * ATTEMPTS])
        if kind == "short_side":
            side = 256 + math.floor(draws[0] * 129)
            return random_square(width, height, 224 / side, 0.0, draws[1], draws[2])
        return middle_square(width, height)

    def change(self, pixels_3SS: Pixels, draws: Sequence[float]) -> None:
        """Mirror and RandAugment, in place."""
        if draws[self._boxes] < self._config.flip_probability:
            pixels_3SS[:] = pixels_3SS[:, :, ::-1].copy()
        if self._config.randaugment_layers:
            pixels_3SS[:] = randaugment(pixels_3SS, self._config.randaugment_magnitude, draws[self._boxes + 1 :])


def inception_box(width: int, height: int, min_area: float, draws: Sequence[float]) -> Box:
    """Area uniform in [min_area, 1] of the picture, ratio of sides log-uniform in [3/4, 4/3]; the first of the tries that fits.

    Whole pixels, as both big_vision and torchvision cut.
    """
    for first in range(0, len(draws), 4):
        size, shape, across, down = draws[first : first + 4]
        area = width * height * (min_area + (1 - min_area) * size)
        ratio = math.exp((2 * shape - 1) * math.log(4 / 3))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = math.floor(across * (width - w + 1)), math.floor(down * (height - h + 1))
            return left, top, left + w, top + h
    return middle_square(width, height)
