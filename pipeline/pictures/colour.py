"""Colour profiles (ICC) brought to sRGB, the one colour space that training assumes; img2dataset drops them unread.

A profile that changes no colour of a grid by more than TOLERANCE levels is taken for sRGB itself, so the many spellings of
sRGB cost one look per profile and leave the pixels alone.
"""

import functools
import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

TOLERANCE = 3
CONVERTED, IGNORED = "colour_profile", "profile_ignored"
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def to_srgb(picture: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """(`picture` of mode RGB, L or CMYK in sRGB, what was done). A broken profile or one of another space is ignored."""
    transform, word = _transform(profile, picture.mode)
    if transform is None:
        return picture, word
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None
    return (converted.convert("L") if picture.mode == "L" else converted), word


@functools.lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> tuple[Any, str | None]:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None, IGNORED
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if mode != "CMYK" and _changes_nothing(transform, mode):
            return None, None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
        return None, IGNORED
    return transform, CONVERTED


def _changes_nothing(transform: Any, mode: str) -> bool:
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    if mode == "L":
        before = np.tile(steps, (2, 1))
    else:
        before = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(6, 36, 3)
    after = ImageCms.applyTransform(Image.fromarray(before), transform)
    assert after is not None
    wanted = before if mode == "RGB" else before[..., None]
    return bool(np.abs(np.asarray(after).astype(int) - wanted.astype(int)).max() <= TOLERANCE)
