"""Encoded pictures to RGB pixels, as Pillow's `convert("RGB")` gives them (but for 16 bits: `as_rgb`).

Ordinary JPEGs go through OpenCV: the same libjpeg-turbo and the same pixels as Pillow, a quarter less time, and Python's lock
is free meanwhile. All else (other formats, CMYK, damaged ends) goes through Pillow, whose judgement decides what is broken.
Orientation in EXIF is not looked at: curation has turned the pictures already, and the papers' loaders do not either.
"""

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from training.data.resize import Pixels

MAX_PIXELS = 178_956_970
"""Pillow's limit for pictures that are no attack."""
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""OpenCV's bits for a reduced size; which colours it gives is another bit."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset(range(0xD0, 0xDA)) | {0x01}


class BrokenPictureError(Exception):
    """Bytes that are no picture; the message says why."""


def plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a whole JPEG with one or three colours of 8 bits; None for anything else.

    Walks the segments to the frame header (ITU T.81, annex B).
    """
    if data[:2] != b"\xff\xd8" or b"\xff\xd9" not in data[-64:]:
        return None
    at, end = 2, len(data) - 9
    while at < end and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xFF:
            at += 1
        elif kind in _FRAMES:
            height, width, colours = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8], data[at + 9]
            plain = data[at + 4] == 8 and colours in (1, 3) and 0 < width * height <= MAX_PIXELS
            return (width, height) if plain else None
        else:
            at += 2 if kind in _BARE else 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def decode(data: bytes, factor: int = 1) -> Pixels:
    """(H, W, 3) RGB uint8. A plain JPEG is decoded at 1/`factor` (1, 2, 4, 8) of its size, sides rounded up.

    Raises BrokenPictureError.
    """
    if plain_jpeg_size(data) is not None:
        flags = _REDUCED[factor] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            pixels = None
        if pixels is not None:
            return np.asarray(pixels, np.uint8)
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(as_rgb(picture))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BrokenPictureError(_why(error)) from None


def as_rgb(picture: Image.Image) -> Image.Image:
    """As Pillow's `convert("RGB")`, but of 16 bits the upper 8, where that makes everything above 255 white.

    Raises ValueError for numbers whose range nobody states (32 bits, fractions).
    """
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        raise ValueError(f"its values have no stated range (mode {picture.mode}); save it with 8 or 16 bits per colour")
    return picture.convert("RGB")


def _why(error: Exception) -> str:
    return "no picture" if isinstance(error, UnidentifiedImageError) else f"{type(error).__name__}: {error}"[:120]
