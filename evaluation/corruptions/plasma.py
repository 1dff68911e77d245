"""Plasma: a cloud by the diamond-square construction (Fournier, Fussell and Carpenter 1982, CACM 25(6)), on a torus.

S = side, a power of two.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


def plasma(side: int, decay: float, random: Generator) -> NDArray[np.float64]:
    """(S, S) in [0, 1], S the next power of two not under `side`.

    At each halving a cell's middle, then its edges' middles become the mean of their four neighbours plus a uniform draw
    whose range shrinks by decay squared: the published code divides by decay a factor that it multiplies in twice.
    """
    side = 1 << max(1, (side - 1).bit_length())
    height_SS = np.zeros((side, side))
    step, swing = side, 1.0
    while step >= 2:
        half = step // 2
        corner = height_SS[::step, ::step]
        beside = corner + np.roll(corner, -1, 0)
        centre = _drawn(beside + np.roll(beside, -1, 1), swing, random)
        height_SS[half::step, half::step] = centre
        below = centre + np.roll(centre, 1, 0) + corner + np.roll(corner, -1, 1)
        height_SS[::step, half::step] = _drawn(below, swing, random)
        aside = centre + np.roll(centre, 1, 1) + corner + np.roll(corner, -1, 0)
        height_SS[half::step, ::step] = _drawn(aside, swing, random)
        step, swing = half, swing / decay**2
    height_SS -= height_SS.min()
    return np.asarray(height_SS / height_SS.max())


def _drawn(sum_of_four: NDArray[np.float64], swing: float, random: Generator) -> NDArray[np.float64]:
    return np.asarray(sum_of_four / 4 + swing * random.uniform(-1, 1, sum_of_four.shape))
