"""Noise of sensors and transmission: four of the 19 corruptions. `values` is the row of constants.py."""

import numpy as np
from numpy.random import Generator

from evaluation.corruptions.pixels import Picture, Values, to_bytes, to_unit


def gaussian_noise(picture: Picture, values: Values, random: Generator) -> Picture:
    """A sensor in low light; (standard deviation,)."""
    return to_bytes(to_unit(picture) + random.normal(scale=values[0], size=picture.shape))


def shot_noise(picture: Picture, values: Values, random: Generator) -> Picture:
    """Counted photons; (photons of a white pixel,)."""
    return to_bytes(random.poisson(to_unit(picture) * values[0]) / values[0])


def impulse_noise(picture: Picture, values: Values, random: Generator) -> Picture:
    """Salt and pepper: single values set to the darkest or the brightest; (share,)."""
    drawn = random.random(picture.shape)
    noisy = picture.copy()
    noisy[drawn < values[0]] = 255
    noisy[drawn < values[0] / 2] = 0
    return noisy


def speckle_noise(picture: Picture, values: Values, random: Generator) -> Picture:
    """Noise that grows with the light; (standard deviation at white,)."""
    unit = to_unit(picture)
    return to_bytes(unit + unit * random.normal(scale=values[0], size=np.shape(unit)))
