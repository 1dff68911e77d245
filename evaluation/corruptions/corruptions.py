"""Common corruptions at five severities (Hendrycks and Dietterich 2019, arXiv:1903.12261), in memory, for any picture.

15 kinds make the benchmark, 4 more are for tuning. The code is our own, with the published constants (constants.py) for
pictures of 224, 64 and 32 pixels. Stored ImageNet-C is another thing: its files were JPEG-compressed after corruption, so it is
measured under a name of its own (protocols/stored_corruptions.py).

Every corruption maps uint8 (H, W, 3) to uint8 (H, W, 3) and is a pure function of its picture, strength and random
generator. `corrupt` makes that generator from (seed, corruption, severity, picture), never from a shared stream, so a
picture gets the same noise in whatever order or company it is worked on.
"""

import functools
import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from evaluation.corruptions import blur, digital, noise, weather
from evaluation.corruptions.constants import TABLES, Setting
from evaluation.corruptions.overlays import Overlays
from evaluation.corruptions.pixels import Picture, Values

SEVERITIES = (1, 2, 3, 4, 5)
Corruption = Callable[[Picture, Values, Generator], Picture]

BENCHMARK: dict[str, Corruption] = {
    each.__name__: each
    for each in (
        noise.gaussian_noise,
        noise.shot_noise,
        noise.impulse_noise,
        blur.defocus_blur,
        blur.glass_blur,
        blur.motion_blur,
        blur.zoom_blur,
        weather.snow,
        weather.frost,
        weather.fog,
        digital.brightness,
        digital.contrast,
        digital.elastic_transform,
        digital.pixelate,
        digital.jpeg_compression,
    )
}
"""The fifteen that mCE is made of, in the paper's order."""
EXTRA: dict[str, Corruption] = {
    each.__name__: each for each in (noise.speckle_noise, blur.gaussian_blur, weather.spatter, digital.saturate)
}
CORRUPTIONS = BENCHMARK | EXTRA
CONSTANTS = "in memory, our own code, the published constants: ImageNet-C's (224 pixels), Tiny ImageNet-C's (64) or CIFAR-C's (32)"
"""Named in every report: figures under other constants, or on stored JPEG files, do not compare."""


def corrupt(
    picture: Picture,
    name: str,
    severity: int,
    index: int,
    seed: int,
    setting: Setting = "tiny-imagenet-c",
    overlays: Overlays | None = None,
) -> Picture:
    """Picture `index` of its list under corruption `name`, severity 1 (mild) to 5 (strong), by the table `setting`.

    `overlays` are the panes of `frost`; our own where None.
    """
    random = np.random.default_rng([seed, zlib.crc32(name.encode()), severity, index])
    work = functools.partial(weather.frost, overlays=overlays) if name == "frost" else CORRUPTIONS[name]
    return work(picture, TABLES[setting][name][severity - 1], random)
