"""Handwritten digits as little photos: real 8x8 scans (UCI "Optical Recognition of Handwritten Digits", Alpaydin and
Kaynak 1998, as shipped with scikit-learn) on paper of a random colour, a little turned, lit from one side, with noise.

The split is 80/20, stratified, fixed for good: the test part is an evaluation set and never depends on a recipe.
"""

import functools
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Split = Literal["train", "test"]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The ten classes as words, in order."""

_PAPERS = {
    "white": (240, 240, 238), "cream": (240, 226, 190), "grey": (168, 168, 172), "yellow": (242, 218, 84),
    "pink": (240, 170, 196), "blue": (128, 176, 240), "green": (126, 204, 136), "orange": (240, 166, 84),
}  # fmt: skip
_INKS = {
    "black": (20, 20, 24), "blue": (24, 40, 150), "red": (190, 24, 30), "green": (10, 100, 50),
    "purple": (96, 24, 130), "brown": (92, 56, 30),
}  # fmt: skip
_MINIMUM_CONTRAST = 95.0  # of luma, ink always the darker one, so that a small model can read a digit at 32 pixels

_TEMPLATES = (
    "a handwritten {name}",
    "the digit {name} written by hand",
    "scan of the digit {name} on {paper} paper",
    "photo of the number {name}",
    "a picture of the number {name} in {ink} ink",
    "the number {name} drawn with a thick pen",
    "snapshot of a handwritten {name}",
    "the number {name} from a page of a school notebook",
    "somebody wrote the number {name} on this sheet",
    "a close view of the digit {name}",
    "handwriting sample with the digit {name} & nothing else",
    "drawing of the number {name} on {paper} paper",
    "the number {word} written as {numeral}",
    "this is the digit {name} in {ink} ink",
    "snapshot of the digit {name} on a piece of {paper} paper",
    "a handwritten {name} on {paper} paper",
)
_COLOURLESS = tuple(template for template in _TEMPLATES if "{paper}" not in template and "{ink}" not in template)


@dataclass(frozen=True)
class Digit:
    """One rendered digit: `index` counts within its split, `image` is RGB."""

    index: int
    label: int
    image: Image.Image
    paper: str
    ink: str


@functools.cache
def _scans() -> dict[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Per split: scans (N, 8, 8) uint8 0..16 and labels (N,)."""
    from sklearn.datasets import load_digits  # slow to import, and the server needs nothing of it
    from sklearn.model_selection import train_test_split

    data = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        data.images.astype(np.uint8), data.target, test_size=0.2, stratify=data.target, random_state=0
    )
    return {"train": (train_x, train_y), "test": (test_x, test_y)}


def digit_labels(split: Split) -> list[int]:
    """The labels of a split, in the order of its indices: 1,437 for train, 360 for test."""
    return [int(label) for label in _scans()[split][1]]


def render_digit(split: Split, index: int, seed: int = 0, side: int = 64) -> Digit:
    """Digit `index` of `split` as a photo of `side` x `side` pixels, the same for the same arguments."""
    scans, labels = _scans()[split]
    random = np.random.default_rng([zlib.crc32(f"digit {split}".encode()), seed, index])
    paper, ink = _paper_and_ink(random)
    stroke = _stroke(scans[index], random, side)[..., None]  # (side, side, 1), 0 paper .. 1 ink
    light = _light(random, side)[..., None]
    colour = random.normal(0, 7, (2, 3))
    picture = (np.array(_PAPERS[paper]) + colour[0]) * (1 - stroke) + (np.array(_INKS[ink]) + colour[1]) * stroke
    picture = picture * light + random.normal(0, random.uniform(1.5, 5.0), picture.shape)
    return Digit(index, int(labels[index]), Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)), paper, ink)


def digit_pictures(split: Split, side: int = 64) -> list[Digit]:
    """All digits of a split, rendered. The test part is the evaluation set."""
    return [render_digit(split, index, side=side) for index in range(len(digit_labels(split)))]


def digit_caption(label: int, seed: int, paper: str = "", ink: str = "") -> str:
    """An alt text for digit `label`, as a numeral or a word; colours are named only where they are given."""
    random = np.random.default_rng([zlib.crc32(b"digit caption"), seed, label])
    templates = _TEMPLATES if paper and ink else _COLOURLESS
    name = WORDS[label] if random.random() < 0.5 else str(label)
    template = templates[int(random.integers(len(templates)))]
    return template.format(name=name, word=WORDS[label], numeral=label, paper=paper, ink=ink)


def _paper_and_ink(random: np.random.Generator) -> tuple[str, str]:
    while True:
        paper, ink = str(random.choice(list(_PAPERS))), str(random.choice(list(_INKS)))
        if _luma(_PAPERS[paper]) - _luma(_INKS[ink]) >= _MINIMUM_CONTRAST:
            return paper, ink


def _luma(colour: tuple[int, int, int]) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def _stroke(scan: NDArray[np.uint8], random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """The pen's coverage (side, side): the scan enlarged, turned, shifted, with the soft edge of a pen."""
    padded = np.pad(scan, 2).astype(np.float32) / 16.0  # (12, 12); the margin keeps strokes off the border
    angle = np.deg2rad(random.uniform(-5, 5))
    pixels_per_cell = side / 12 * random.uniform(1.12, 1.24)
    shift = random.uniform(-0.02, 0.02, 2) * side
    cos, sin = np.cos(angle) / pixels_per_cell, np.sin(angle) / pixels_per_cell
    centre = side / 2 + shift
    inverse = (cos, sin, 6 - cos * centre[0] - sin * centre[1], -sin, cos, 6 + sin * centre[0] - cos * centre[1])
    large = Image.fromarray(padded).transform((side, side), Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC)
    # A ramp steep enough to give strokes an edge, gentle enough to keep the scan's grey levels, which tell digits apart.
    return np.asarray(np.clip((np.asarray(large, dtype=np.float64) - 0.08) / 0.7, 0, 1))


def _light(random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Brightness (side, side): a lamp from one side. Deeper shadows hide strokes from a small model."""
    axis = np.linspace(-1, 1, side)
    angle = random.uniform(0, 2 * np.pi)
    toward = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    return 1 - random.uniform(0, 0.12) * (toward + 1) / 2
