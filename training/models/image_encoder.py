"""What image towers have in common: uint8 pixels in, normalised inside; features of the picture, or of its places, out.

B = pictures, S = side in pixels, P = places of the last grid, W = width of the features.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from training.specs.towers import AnyImageTower


class ImageEncoder(nn.Module, ABC):
    """A tower built from its spec. Pixels travel as bytes: a quarter of the traffic of floats."""

    pixel_mean: Tensor
    pixel_std: Tensor
    patch_dropout: float = 0.0

    def __init__(self, tower: AnyImageTower) -> None:
        super().__init__()
        self.tower = tower
        self.reset_pixel_statistics()

    def reset_pixel_statistics(self) -> None:
        """Constants, so in no checkpoint; to be called again on a model that was built on the meta device."""
        for name, value in (("pixel_mean", self.tower.pixel_mean), ("pixel_std", self.tower.pixel_std)):
            bytes_3 = np.array(value, np.float32) * np.float32(255)  # arithmetic on the meta device is slow (shapes.py)
            self.register_buffer(name, torch.tensor(bytes_3.tolist()).view(3, 1, 1), persistent=False)

    def normalised(self, pixels_B3SS: Tensor) -> Tensor:
        """Float32 of mean 0 and deviation 1 over the training pictures. Raises TypeError on anything but uint8."""
        if pixels_B3SS.dtype != torch.uint8:
            raise TypeError(f"pixels are {pixels_B3SS.dtype}; this tower takes uint8 and normalises them itself")
        # In place: an array of a whole batch is got from the kernel page by page, each time.
        return pixels_B3SS.float().sub_(self.pixel_mean).div_(self.pixel_std)

    @abstractmethod
    def places(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, P, W): features of the last grid's places, row by row, before they are pooled."""

    @abstractmethod
    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, W): features of the pictures."""
