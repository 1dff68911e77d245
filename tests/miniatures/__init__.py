"""Tiny data sets in exactly the layouts in which the real ones are published, made by code.

    from miniatures import make
    made = make("cifar10", folder)     # fills `folder` as the archive would; `made` says what must be read from it

Layouts were checked against torchvision 0.28, TFDS, VTAB, VISSL, imagenet-testbed and clip_benchmark 1.6.
"""

from pathlib import Path

from miniatures.arrays import ARRAYS
from miniatures.canvas import Made, colour, picture
from miniatures.files import FILES
from miniatures.folders import FOLDERS
from miniatures.lists import LISTS
from miniatures.scenes import SCENES
from miniatures.tables import TABLES
from miniatures.universal import UNIVERSAL

MINIATURES = {**ARRAYS, **FILES, **LISTS, **FOLDERS, **TABLES, **SCENES, **UNIVERSAL}

__all__ = ["MINIATURES", "Made", "colour", "make", "picture"]


def make(name: str, folder: Path) -> Made:
    """The miniature called `name` in `folder`, which may exist."""
    folder.mkdir(parents=True, exist_ok=True)
    return MINIATURES[name](folder)
