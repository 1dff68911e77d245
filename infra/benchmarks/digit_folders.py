"""scikit-learn's handwritten digits as folders of pictures, a class each: 1,437 to learn from, 360 to test with.

    python infra/benchmarks/digit_folders.py FOLDER          8x8 pixels in 17 greys, as they come
    python infra/benchmarks/digit_folders.py FOLDER inked    each nine times: where it is, and a pixel away in all directions, in
                                                             three shades of an ink of five, drawn for each picture

The split is by a fixed shuffle, digit by digit.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from orchestration.recipe import load
from training.config import TrainConfig

TEST = 360
PLACES = 9
INKS = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
"""White, red, green, blue, yellow: with three shades each and black, 16 colours."""


def digits() -> tuple[Any, Any]:
    """((1797, 8, 8) uint8 in 0..255, (1797,) classes), shuffled; the last 360 are the test set."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return np.round(data.images[order] * (255 / 16)).astype(np.uint8), data.target[order]


def moved(images_NSS: Any) -> Any:
    """(N, 9, S, S): each picture up to a pixel up, down, left and right of where it is; black comes in, the edge goes out."""
    side = images_NSS.shape[1]
    wide = np.pad(images_NSS, ((0, 0), (1, 1), (1, 1)))
    return np.stack([wide[:, y : y + side, x : x + side] for y in range(3) for x in range(3)], axis=1)


def inked(images_NSS: Any) -> Any:
    """(N, 9, S, S, 3): `moved`, in three shades of the ink that is drawn for each; a function of the picture's number and place."""
    shades_NPSS = np.round(moved(images_NSS) / 85).astype(np.uint8) * 85
    inks_NP3 = INKS[np.random.default_rng(0).integers(0, len(INKS), shades_NPSS.shape[:2])]
    return (shades_NPSS[..., None] * inks_NP3[:, :, None, None]).astype(np.uint8)


def write_folders(folder: Path, places: bool = False) -> Path:
    """folder/CLASS/NUMBER.png of the 1,437 digits to learn from, with `places` NUMBER-PLACE.png of all nine places, inked."""
    images, classes = digits()
    pictures = inked(images)[:-TEST] if places else images[:-TEST, None]
    for number, (copies, which) in enumerate(zip(pictures, classes[:-TEST], strict=True)):
        (folder / str(which)).mkdir(parents=True, exist_ok=True)
        for place, image in enumerate(copies):
            name = f"{number:04}-{place}.png" if places else f"{number:04}.png"
            Image.fromarray(image).convert("RGB").save(folder / str(which) / name)
    return folder


def digits_recipe(name: str, sets: Sequence[str] = ()) -> TrainConfig:
    """The `train` section of a shipped recipe, so that what is measured here is what users run."""
    config = load(name, sets).train
    assert config is not None
    return config


if __name__ == "__main__":
    print(write_folders(Path(sys.argv[1]), places=sys.argv[2:] == ["inked"]))
