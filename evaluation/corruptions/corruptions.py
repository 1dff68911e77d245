"""Common corruptions at five severities (Hendrycks and Dietterich 2019, arXiv:1903.12261), for small pictures.

Constants are those of the 64-pixel variant of the benchmark (github.com/hendrycks/robustness,
ImageNet-C/create_c/make_tinyimagenet_c.py); the code is our own, on NumPy and Pillow, so figures measured here compare
with each other and not with Tiny ImageNet-C's stored files (which were JPEG-compressed after corruption).

Every corruption maps uint8 (H, W, 3) to uint8 (H, W, 3) and is a pure function of its picture, severity and random
generator. `corrupt` makes that generator from (seed, corruption, severity, picture), never from a shared stream, so a
picture gets the same noise in whatever order or company it is worked on.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
SEVERITIES = (1, 2, 3, 4, 5)
CONSTANTS = "Tiny ImageNet-C's (64 pixels), applied in memory"
"""Named in every report: figures under other constants, or on stored JPEG files, do not compare."""


def gaussian_noise(picture: Picture, severity: int, random: Generator) -> Picture:
    """Sensor noise in low light."""
    sigma = (0.04, 0.08, 0.12, 0.15, 0.18)[severity - 1]
    return _to_bytes(_to_unit(picture) + random.normal(scale=sigma, size=picture.shape))


def shot_noise(picture: Picture, severity: int, random: Generator) -> Picture:
    """Poisson noise of counted photons."""
    photons = (250, 100, 50, 30, 15)[severity - 1]
    return _to_bytes(random.poisson(_to_unit(picture) * photons) / photons)


def impulse_noise(picture: Picture, severity: int, random: Generator) -> Picture:
    """Salt and pepper: single values set to the darkest or the brightest."""
    share = (0.01, 0.02, 0.05, 0.08, 0.14)[severity - 1]
    drawn = random.random(picture.shape)
    noisy = picture.copy()
    noisy[drawn < share] = 255
    noisy[drawn < share / 2] = 0
    return noisy


def defocus_blur(picture: Picture, severity: int, random: Generator) -> Picture:
    """A lens out of focus: a disc, its edge softened against aliasing."""
    radius, softness = ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1))[severity - 1]
    reach = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.float64)
    near = np.exp(-(np.arange(-1, 2) ** 2) / (2 * softness * softness))
    near /= near.sum()
    soft = sum(
        weight * np.roll(disc, (down - 1, right - 1), (0, 1))
        for (down, right), weight in np.ndenumerate(np.outer(near, near))
    )
    return _convolve(picture, np.asarray(soft))


def motion_blur(picture: Picture, severity: int, random: Generator) -> Picture:
    """A camera that moved: a half Gaussian along one line, at an angle within 45 degrees of the horizontal."""
    radius, sigma = ((10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0))[severity - 1]
    angle = np.deg2rad(random.uniform(-45, 45))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for step in range(radius + 1):
        weight = np.exp(-step * step / (2 * sigma * sigma))
        y, x = radius + step * np.sin(angle), radius + step * np.cos(angle)
        top, left = int(np.floor(y)), int(np.floor(x))
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, right in ((left, 1 - (x - left)), (left + 1, x - left)):
                if (
                    down * right > 1e-12
                ):  # the far neighbour of a whole number lies outside the kernel and weighs nothing
                    kernel[row, column] += weight * down * right
    kernel[kernel < 1e-4 * kernel.sum()] = 0
    return _convolve(picture, kernel)


def brightness(picture: Picture, severity: int, random: Generator) -> Picture:
    """Value of HSV raised: hue and saturation stay, so each channel grows by the factor that the largest one does."""
    rise = (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    unit = _to_unit(picture)
    value = unit.max(axis=2, keepdims=True)
    raised = np.minimum(value + rise, 1)
    return _to_bytes(np.where(value > 0, unit * raised / np.maximum(value, 1e-9), raised))


def contrast(picture: Picture, severity: int, random: Generator) -> Picture:
    """Distance to the mean colour shrunk."""
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    unit = _to_unit(picture)
    mean = unit.mean(axis=(0, 1), keepdims=True)
    return _to_bytes((unit - mean) * factor + mean)


def pixelate(picture: Picture, severity: int, random: Generator) -> Picture:
    """Shown at a lower resolution than the screen's."""
    scale = (0.9, 0.8, 0.7, 0.6, 0.5)[severity - 1]
    height, width = picture.shape[:2]
    small = (max(1, int(width * scale)), max(1, int(height * scale)))
    image = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX)).copy()


def jpeg_compression(picture: Picture, severity: int, random: Generator) -> Picture:
    """Stored at a low JPEG quality."""
    quality = (65, 58, 50, 40, 25)[severity - 1]
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored).convert("RGB")).copy()


CORRUPTIONS: dict[str, Callable[[Picture, int, Generator], Picture]] = {
    corruption.__name__: corruption
    for corruption in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        motion_blur,
        brightness,
        contrast,
        pixelate,
        jpeg_compression,
    )
}


def corrupt(picture: Picture, name: str, severity: int, index: int, seed: int) -> Picture:
    """Picture `index` of its list under corruption `name`, severity 1 (mild) to 5 (strong)."""
    random = np.random.default_rng([seed, zlib.crc32(name.encode()), severity, index])
    return CORRUPTIONS[name](picture, severity, random)


def _to_unit(picture: Picture) -> NDArray[np.float64]:
    return picture.astype(np.float64) / 255


def _to_bytes(unit: NDArray[np.float64]) -> Picture:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _convolve(picture: Picture, kernel: NDArray[np.float64]) -> Picture:
    """Correlate each channel with a small square kernel (made to sum to 1); edges are mirrored.

    One shifted addition per non-zero weight: these kernels are lines and small discs, so this beats a general
    convolution, and needs no further library.
    """
    height, width = picture.shape[:2]
    reach = kernel.shape[0] // 2
    padded = np.pad(picture.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    total = np.zeros(picture.shape, np.float32)
    for row, column in np.argwhere(kernel > 0):
        total += np.float32(kernel[row, column] / kernel.sum()) * padded[row : row + height, column : column + width]
    return np.rint(np.clip(total, 0, 255)).astype(np.uint8)
