"""Pictures to uint8 squares of the model's size: cut and resized by PIL in one step, bicubic with antialiasing.

Training takes a random square crop, CLIP's only augmentation (arXiv:2103.00020, section 2.3); evaluation the middle one.
For datasets of a few thousand pictures, which a model learns by heart otherwise, `disturb` turns, stretches and lights
whole batches.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from training.data.config import DataConfig

Box = tuple[float, float, float, float]


def random_square(width: int, height: int, min_side_fraction: float, size: float, across: float, down: float) -> Box:
    """A square in a picture of `width` x `height` pixels; its side, left and top are chosen by three draws in [0, 1)."""
    side = min(width, height) * (min_side_fraction + (1 - min_side_fraction) * size)
    left, top = across * (width - side), down * (height - side)
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

    from training.data.decode import as_rgb

    picture = as_rgb(picture)
    pixels = square_pixels(picture, middle_square(*picture.size), spec.image_size)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


def disturb(pixels_B3SS: "Tensor", draws_B4: "Tensor", config: "DataConfig") -> "Tensor":
    """uint8 pixels turned, stretched in both directions and lit differently; `draws` in [0, 1) choose how much.

    What comes in from outside the picture repeats its border.
    """
    import torch
    from torch.nn import functional

    swing_B4 = 2 * draws_B4.float() - 1
    angle_B = swing_B4[:, 0] * math.radians(config.max_rotation_degrees)
    stretch_B2 = 1 + swing_B4[:, 1:3] * config.max_stretch
    turn_B22 = torch.stack([angle_B.cos(), -angle_B.sin(), angle_B.sin(), angle_B.cos()], dim=1).view(-1, 2, 2)
    # grid_sample asks where each pixel comes from: the inverse of what the picture goes through.
    source_B23 = functional.pad(turn_B22 / stretch_B2[:, :, None], (0, 1))
    grid_BSS2 = functional.affine_grid(source_B23, list(pixels_B3SS.shape), align_corners=False)
    moved = functional.grid_sample(pixels_B3SS.float(), grid_BSS2, padding_mode="border", align_corners=False)
    light_B111 = 1 + swing_B4[:, 3].view(-1, 1, 1, 1) * config.max_brightness_change
    return (moved * light_B111).round_().clamp_(0, 255).to(torch.uint8)
