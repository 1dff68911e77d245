"""Panes of ice for the frost corruption: drawn by ourselves, or the pictures of a folder of the user's.

The published files used five photographs of frosted windows (a sixth is never drawn: its number is out of the draw's range).
Ours are drawn: star-shaped crystals with branches over a cloud of ridges, in the mean colour and contrast of each of the five.
What differs: crystals have one size and lie evenly, a photograph's grow from one edge; scores under `frost` therefore compare
among models measured here, and with published ones only with the authors' pictures in `evaluate.robustness.frost`.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from evaluation.corruptions.plasma import plasma
from pipeline import storage
from pipeline.errors import ConfigError

SIDE = 512
SEED = 1903_12261
LOOKS = (
    ((78, 149, 166), 18.0),
    ((201, 205, 214), 22.0),
    ((201, 205, 214), 22.0),
    ((138, 153, 165), 29.0),
    ((112, 123, 135), 43.0),
)
"""Mean colour and deviation of grey of the five photographs, measured."""


@dataclass(frozen=True)
class Overlays:
    """RGB pictures and a hash of them."""

    pictures: tuple[NDArray[np.uint8], ...]
    identity: str


@functools.cache
def own_frost() -> tuple[NDArray[np.uint8], ...]:
    """Five panes of 512 pixels, (512, 512, 3) each, always the same; some 50 ms each, once per process."""
    panes = []
    for number, (colour, deviation) in enumerate(LOOKS):
        random = np.random.default_rng([SEED, number])
        field = 0.6 * _standard(_crystals(random)) + 0.4 * _standard(_ridges(random))
        grey = _standard(field)[:, :, None] * deviation
        panes.append(np.rint(np.clip(np.array(colour) + grey, 0, 255)).astype(np.uint8))
    return tuple(panes)


@functools.cache
def read_overlays(folder: str) -> Overlays:
    """The pictures of a folder in order of their names, the first five where there are six, as ImageNet-C drew them.

    Raises ConfigError where there are none.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        raise ConfigError(f"evaluate.robustness.frost: no PNG or JPEG below {folder}; leave it out for our own frost")
    taken = files[:5]
    pictures = tuple(np.asarray(Image.open(path).convert("RGB")) for path in taken)
    return Overlays(pictures, storage.sha256(b"".join(path.read_bytes() for path in taken))[:16])


def _crystals(random: Generator) -> NDArray[np.float32]:
    """Stars of six arms, each with pairs of branches at sixty degrees, brighter at the stem."""
    canvas = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(260):
        x, y = random.uniform(-20, SIDE + 20, 2)
        size, turn, light = random.uniform(14, 60), random.uniform(0, np.pi / 3), random.uniform(0.4, 1.0)
        for arm in turn + np.arange(6) * np.pi / 3:
            tip = _line(canvas, (x, y), arm, size, light)
            for share in (0.3, 0.5, 0.7):
                stem = (x + share * (tip[0] - x), y + share * (tip[1] - y))
                for side in (-np.pi / 3, np.pi / 3):
                    _line(canvas, stem, arm + side, size * 0.45 * (1 - share), 0.7 * light)
    return np.asarray(canvas + cv2.GaussianBlur(canvas, (0, 0), 2.5), np.float32)


def _line(
    canvas: NDArray[np.float32], start: tuple[float, float], angle: float, length: float, light: float
) -> tuple[float, float]:
    end = (start[0] + length * float(np.cos(angle)), start[1] + length * float(np.sin(angle)))
    points = [(round(16 * x), round(16 * y)) for x, y in (start, end)]
    cv2.line(canvas, points[0], points[1], light, 1, cv2.LINE_8, 4)
    return end


def _ridges(random: Generator) -> NDArray[np.float64]:
    """Veins: where a cloud crosses its middle height, thin lines stand out."""
    total = np.zeros((SIDE, SIDE))
    for weight, decay in ((1.0, 1.45), (0.6, 1.3)):
        total += weight * (1 - np.abs(2 * plasma(SIDE, decay, random) - 1)) ** 4
    return total


def _standard(field: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray((field - field.mean()) / field.std(), np.float64)
