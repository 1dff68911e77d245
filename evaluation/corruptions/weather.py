"""Weather: snow, frost, fog and spatter. `values` is the row of constants.py."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from evaluation.corruptions.overlays import Overlays, own_frost
from evaluation.corruptions.pixels import (
    Picture,
    Values,
    drawn_angle,
    fractions,
    gaussian_blurred,
    moved,
    to_bytes,
    to_unit,
    zoomed,
)
from evaluation.corruptions.plasma import plasma

WATER = np.array([175, 238, 238], np.float32) / 255
MUD = np.array([63, 42, 20], np.float32) / 255


def snow(picture: Picture, values: Values, random: Generator) -> Picture:
    """Flakes blown one way, and a brightened picture; (mean, deviation, zoom, threshold, radius, sigma, share of picture)."""
    mean, deviation, zoom, threshold, radius, sigma, share = values
    flakes = zoomed(random.normal(mean, deviation, size=picture.shape[:2]).astype(np.float32), zoom)
    flakes[flakes < threshold] = 0
    blown = moved((np.clip(flakes, 0, 1) * 255).astype(np.uint8), radius, sigma, drawn_angle(random, (-135, -45)))
    layer = (blown.astype(np.float32) + blown[::-1, ::-1])[:, :, None] / 255
    unit = fractions(picture)
    grey = unit @ np.array([0.299, 0.587, 0.114], np.float32)
    whitened = np.maximum(unit, grey[:, :, None] * 1.5 + 0.5)
    return to_bytes(share * unit + (1 - share) * whitened + layer)


def frost(picture: Picture, values: Values, random: Generator, overlays: Overlays | None = None) -> Picture:
    """A pane with ice on it: part of one of the overlays; (weight of the picture, of the ice, scale of the overlay)."""
    weight, ice, scale = values
    panes = overlays.pictures if overlays else own_frost()
    pane = panes[int(random.integers(len(panes)))]
    height, width = picture.shape[:2]
    # Never smaller than the picture: a user's overlay, or a picture larger than those the table is for.
    scale = max(scale, (height + 1) / pane.shape[0], (width + 1) / pane.shape[1])
    if scale != 1:
        pane = np.asarray(cv2.resize(pane, (0, 0), fx=scale, fy=scale), np.uint8)
    top = int(random.integers(0, max(1, pane.shape[0] - height)))
    left = int(random.integers(0, max(1, pane.shape[1] - width)))
    part = pane[top : top + height, left : left + width]
    return np.rint(np.clip(weight * picture.astype(np.float32) + ice * part, 0, 255)).astype(np.uint8)


def fog(picture: Picture, values: Values, random: Generator) -> Picture:
    """A cloud of plasma before the picture; (strength, decay of its detail)."""
    strength, decay = values
    height, width = picture.shape[:2]
    unit = to_unit(picture)
    brightest = unit.max()
    cloud = plasma(max(height, width), decay, random)[:height, :width, None]
    return to_bytes((unit + strength * cloud) * brightest / (brightest + strength))


def spatter(picture: Picture, values: Values, random: Generator) -> Picture:
    """Water or mud on the lens; (mean, deviation, sigma, threshold, strength or second sigma, 0: water, 1: mud)."""
    mean, deviation, sigma, threshold, strength, is_mud = values
    unit = fractions(picture)
    liquid = gaussian_blurred(random.normal(mean, deviation, size=picture.shape[:2]).astype(np.float32), sigma)
    liquid[liquid < threshold] = 0
    if is_mud:
        cover = gaussian_blurred((liquid > threshold).astype(np.float32), strength)
        cover[cover < 0.8] = 0
        return to_bytes(unit * (1 - cover[:, :, None]) + cover[:, :, None] * MUD)
    drops = np.clip(liquid * 255, 0, 255).astype(np.uint8)
    shine = drops * _rims(drops)
    most = float(shine.max())
    return to_bytes(unit + (shine / most * strength if most else shine)[:, :, None] * WATER)


def _rims(drops: Picture) -> NDArray[np.float32]:
    """How a drop catches light: an embossed distance to its edge, at most 20 pixels, stretched over all greys."""
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    near = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    lit = cv2.filter2D(cv2.equalizeHist(near), cv2.CV_8U, emboss)
    return np.asarray(cv2.blur(lit, (3, 3)), np.float32)
