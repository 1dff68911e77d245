"""Variant: one way in which a picture is altered before a model sees it; features of altered pictures are kept under its name."""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image

from evaluation.corruptions.constants import SIDE_PIXELS, Setting
from evaluation.corruptions.corruptions import corrupt
from evaluation.corruptions.overlays import read_overlays
from evaluation.corruptions.patches import OCCLUSIONS, occluded
from evaluation.corruptions.pixels import Picture

SHORTER_SIDE_BEFORE_CUT = 256


@dataclass(frozen=True)
class Variant:
    """A corruption with its severity by one table of constants, or an occlusion (patches.py) with its share in per cent.

    `frost` is a folder of overlays for that corruption; empty means our own.
    """

    corruption: str
    severity: int
    setting: Setting = "tiny-imagenet-c"
    frost: str = ""

    def __str__(self) -> str:
        return f"{self.corruption}/{self.severity}"

    @functools.cached_property
    def key(self) -> str:
        """What tells it from all others; of overlays their content counts, not their place."""
        panes = read_overlays(self.frost).identity if self.frost and self.corruption == "frost" else "own"
        return f"{self}@{self.setting}@{panes}" if self.corruption not in OCCLUSIONS else str(self)

    def applied(self, picture: Picture, index: int, seed: int) -> Picture:
        """`picture` (H, W, 3), number `index` of its list, altered; by ImageNet-C's table it is cut to 224 pixels first."""
        if self.corruption in OCCLUSIONS:
            return occluded(picture, self.corruption, self.severity, index, seed)
        if self.setting == "imagenet-c":
            picture = published_square(picture)
        overlays = read_overlays(self.frost) if self.frost and self.corruption == "frost" else None
        return corrupt(picture, self.corruption, self.severity, index, seed, self.setting, overlays)


def published_square(picture: Picture) -> Picture:
    """(224, 224, 3) as ImageNet-C's makers cut it: shorter side to 256 pixels, bilinear, then the middle. A picture that is
    224 pixels wide and high stays as it is."""
    side = SIDE_PIXELS["imagenet-c"]
    height, width = picture.shape[:2]
    if (height, width) == (side, side):
        return picture
    scale = SHORTER_SIDE_BEFORE_CUT / min(height, width)
    size = (max(side, int(width * scale)), max(side, int(height * scale)))
    whole = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    top, left = round((size[1] - side) / 2), round((size[0] - side) / 2)
    return np.ascontiguousarray(whole[top : top + side, left : left + side])
