"""What a picture looks like in a few bytes: hashes that find near duplicates, a thumbnail that verifies, and its statistics.

pHash       64 bits: signs of the 8 x 8 lowest DCT coefficients of a 32 x 32 grey picture against their median
            (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2)
pHash 256   the same with 16 x 16 coefficients of a 64 x 64 grey picture: too long to search by, better to verify with
            (both in whole numbers, see _cosines, so that every processor finds the same bits)
thumbnail8  192 bytes: the 8 x 8 RGB means
statistics  brightness (mean grey level), entropy of the grey histogram in bits, sharpness (variance of the Laplacian; Pech-
            Pacheco 2000, "Diatom autofocusing in brightfield microscopy"), of the picture at LOOK_PIXELS
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from pipeline.pictures.resize import shrunk

THUMBNAIL_BYTES = 192
LOOK_PIXELS = 256
"""Longest side of the picture that hashes and statistics are taken from; a smaller one is taken as it is."""
THUMBNAIL_PIXELS = 96


@dataclass(frozen=True)
class Description:
    phash: int
    phash256: bytes
    thumbnail8: bytes
    thumbnail: bytes  # JPEG, for contact sheets
    brightness: float
    entropy: float
    sharpness: float


def describe(pixels: np.ndarray) -> Description:
    """All descriptors of 8-bit pixels, BGR or grey, for about what one encoding costs."""
    look = within(pixels, LOOK_PIXELS)
    grey = look if look.ndim == 2 else cv2.cvtColor(look, cv2.COLOR_BGR2GRAY)
    means = shrunk(grey, (64, 64))
    small = within(look, THUMBNAIL_PIXELS)
    colours = cv2.resize(small, (8, 8), interpolation=cv2.INTER_AREA)
    sheet = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    brightness, entropy = _histogram(grey)
    return Description(
        int.from_bytes(_signs(cv2.resize(means, (32, 32), interpolation=cv2.INTER_AREA), 8), "big"),
        _signs(means, 16),
        cv2.cvtColor(colours, cv2.COLOR_GRAY2RGB if colours.ndim == 2 else cv2.COLOR_BGR2RGB).tobytes(),
        sheet.tobytes(),
        brightness,
        entropy,
        round(float(deviation[0, 0]) ** 2, 4),
    )


def perceptual_hash(picture: Image.Image) -> int:
    """64-bit pHash of an RGB or grey picture."""
    return int.from_bytes(_signs(_grey_means(picture, 32), 8), "big")


def thumbnail8(picture: Image.Image) -> bytes:
    """8 x 8 x 3 mean colours, row by row."""
    return picture.convert("RGB").resize((8, 8), Image.Resampling.BOX).tobytes()


def hamming(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Number of differing bits of uint64 arrays, broadcast."""
    different = np.bitwise_xor(left, right)
    return np.unpackbits(different[..., None].view(np.uint8), axis=-1).sum(axis=-1)


def thumbnail_distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Root mean square difference (0..255) of thumbnails as uint8 arrays (..., 192), broadcast."""
    difference = left.astype(np.float32) - right.astype(np.float32)
    return np.sqrt((difference**2).mean(axis=-1))


def thumbnails(values: list[bytes]) -> np.ndarray:
    """(N, 192) uint8 from N thumbnails."""
    return np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(values), THUMBNAIL_BYTES)


def within(pixels: np.ndarray, side: int) -> np.ndarray:
    """`pixels` scaled to at most `side` on the longest side."""
    height, width = pixels.shape[:2]
    if max(height, width) <= side:
        return pixels
    scale = side / max(height, width)
    return shrunk(pixels, (max(1, round(width * scale)), max(1, round(height * scale))))


def _grey_means(picture: Image.Image, side: int) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BOX))


def _signs(grey: np.ndarray, kept: int) -> bytes:
    """Of the kept x kept lowest DCT coefficients of a square picture: which are above their median."""
    cosines = _cosines(grey.shape[0], kept)
    low = (cosines @ grey.astype(np.float64) @ cosines.T).ravel()
    # The median leaves the constant term out: it holds the brightness, thousands of times the rest.
    middle = (kept * kept - 1) // 2
    return np.packbits(low > np.partition(low[1:], middle)[middle]).tobytes()


@functools.cache
def _cosines(side: int, kept: int) -> np.ndarray:
    """(kept, side): the first rows of the orthonormal DCT-II, times 2^18 and rounded.

    Whole numbers below 2^53 add up exactly in float64, in whatever order a linear algebra library takes them.
    """
    frequency, place = np.arange(kept)[:, None], np.arange(side)[None, :]
    rows = np.cos(np.pi * frequency * (2 * place + 1) / (2 * side)) * np.sqrt(2 / side)
    rows[0] /= np.sqrt(2)
    return np.rint(rows * 2**18)


def _histogram(grey: np.ndarray) -> tuple[float, float]:
    """(mean level, entropy in bits); rounded, so that no processor's last bit is in them."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    share = counts[counts > 0] / grey.size
    mean = float(counts @ np.arange(256)) / grey.size
    return round(mean, 4), round(float(-(share * np.log2(share)).sum()), 4) + 0.0
