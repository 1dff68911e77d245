"""Learned positions for pictures of another size: the grid of positions is resized as if it were a picture
(arXiv:2010.11929, section 3.2), bicubic with anti-aliasing; the position of a class token or mean goes over as it is.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import DataError


def resized_grid(positions_TW: Tensor, places: int, name: str = "positions") -> Tensor:
    """A square grid of rows (T, W), one more before it perhaps, at `places` x `places`.

    Raises DataError where the rows are no such grid.
    """
    rows, width = positions_TW.shape
    side = int(rows**0.5)
    extra = rows - side**2
    if extra not in (0, 1):
        raise DataError(f"{name} has {rows} rows, which is no square grid; give weights of a model with such positions")
    if side == places:
        return positions_TW
    grid_1Wss = positions_TW[extra:].float().T.reshape(1, width, side, side)
    made_1Wpp = functional.interpolate(grid_1Wss, size=(places, places), mode="bicubic", antialias=True)
    made_PW = made_1Wpp.reshape(width, places**2).T.to(positions_TW.dtype)
    return torch.cat([positions_TW[:extra], made_PW]).contiguous()
