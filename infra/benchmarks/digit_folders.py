"""scikit-learn's handwritten digits as folders of pictures, a class each: 1,437 to learn from, 360 to test with.

The split is by a fixed shuffle. Pictures are 8x8 in 17 greys, as they come.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TEST = 360


def digits() -> tuple[Any, Any]:
    """((1797, 8, 8) uint8 in 0..255, (1797,) classes), shuffled; the last 360 are the test set."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return np.round(data.images[order] * (255 / 16)).astype(np.uint8), data.target[order]


def write_folders(folder: Path) -> Path:
    """folder/CLASS/NUMBER.png of the 1,437 pictures to learn from."""
    images, classes = digits()
    for number, (image, which) in enumerate(zip(images[:-TEST], classes[:-TEST], strict=True)):
        path = folder / str(which) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).convert("RGB").save(path)
    return folder
