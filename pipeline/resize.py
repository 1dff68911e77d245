"""The one door to img2dataset: its Resizer, whose modes and rules are the field's contract for stored pictures."""

import functools
import io
import os
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer version

from img2dataset.resizer import Resizer


@functools.cache
def _resizer(image_size: int, mode: str, only_if_bigger: bool, format: str, quality: int) -> Any:
    return Resizer(image_size, mode, only_if_bigger, encode_format=format, encode_quality=quality)


def resize(
    picture: bytes, image_size: int, mode: str, only_if_bigger: bool, format: str, quality: int
) -> tuple[bytes, int, int]:
    """(encoded picture, width, height) by img2dataset's rules for `mode` (border, keep_ratio, keep_ratio_largest,
    center_crop, no). Raises ValueError with img2dataset's words when it cannot.
    """
    result = _resizer(image_size, mode, only_if_bigger, format, quality)(io.BytesIO(picture))
    encoded, width, height, _, _, error = result
    if error is not None or encoded is None:
        raise ValueError(str(error))
    return encoded, int(width), int(height)
