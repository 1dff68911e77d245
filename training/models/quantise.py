"""Pixels to the nearest colours of a palette, on whatever device they are.

N = pixels, C = colours. Distances are taken around middle grey: with a palette in eighths of a grey level
(training/models/palette.py) every product and sum below is a multiple of 1/64 under 2^24 / 64 and thus exact in float32, so
the answer is the same on every device and in batches of any size. Other palettes are rounded where a pixel lies between two
colours.
"""

import torch
from torch import Tensor

PIXELS_AT_ONCE = 1 << 14
"""16,384 x 512 distances are 32 MiB."""
MIDDLE = 127.5


def even_palette(colours: int) -> Tensor:
    """(C, 3) float32, 0..255: a grid in the colour cube where `colours` is a cube (512 = 8 x 8 x 8), else greys.

    What a model has before it sees data; training puts the data's own in its place.
    """
    side = round(colours ** (1 / 3))
    if side**3 == colours and side > 1:
        steps = torch.linspace(0, 255, side)
        return torch.cartesian_prod(steps, steps, steps)
    return torch.linspace(0, 255, colours)[:, None].repeat(1, 3)


def nearest_colours(pixels_N3: Tensor, palette_C3: Tensor) -> Tensor:
    """(N,) int64: the number of the nearest colour, the lower of two that are equally near. Pixels are uint8."""
    if pixels_N3.dtype != torch.uint8:
        raise TypeError(f"pixels are {pixels_N3.dtype}; the palette is for uint8")
    with torch.no_grad(), torch.autocast(pixels_N3.device.type, enabled=False):
        centred_C3 = palette_C3.float() - MIDDLE
        squares_C = centred_C3.square().sum(dim=1)
        found = [
            torch.addmm(squares_C, part_n3.float() - MIDDLE, centred_C3.T, alpha=-2).argmin(dim=1)
            for part_n3 in pixels_N3.split(PIXELS_AT_ONCE)
        ]
    return torch.cat(found)
