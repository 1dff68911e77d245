"""Pictures to uint8 squares of the model's size: cut and resized by PIL in one step, bicubic with antialiasing.

Training takes a random square crop, CLIP's only augmentation (arXiv:2103.00020, section 2.3); evaluation the middle one.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from training.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[float, float, float, float]


def random_square(width: int, height: int, min_side_fraction: float, draws: tuple[float, float, float]) -> Box:
    """A square in a picture of `width` x `height` pixels; `draws` in [0, 1) choose its side, left and top."""
    side = min(width, height) * (min_side_fraction + (1 - min_side_fraction) * draws[0])
    left, top = draws[1] * (width - side), draws[2] * (height - side)
    return left, top, left + side, top + side


def middle_square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def square_pixels(picture: Image.Image, box: Box, size: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """(size, size, 3) uint8 from `box` of an RGB picture."""
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box))


def evaluation_pixels(picture: Image.Image, spec: ModelSpec) -> "Tensor":
    """(3, size, size) uint8: the middle square, resized."""
    import torch

    picture = picture.convert("RGB")
    pixels = square_pixels(picture, middle_square(*picture.size), spec.image.size)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
