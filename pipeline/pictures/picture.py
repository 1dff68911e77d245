"""One hostile picture: check its header, decode it once, repair what is odd, describe it, resize and encode it.

Runs inside the sandbox (a limited child process), so a crash or a hang of a decoder costs this picture only. The steps are
`decode.py`, `descriptors.py` and `resize.py`; `picture_row.py` is the parent's side of them.
"""

from typing import Any

import numpy as np

from pipeline.pictures.decode import NOTES, UnusableError, decode
from pipeline.pictures.descriptors import LOOK_PIXELS, Description, describe
from pipeline.pictures.filters import look_fault
from pipeline.pictures.resize import encode, frame, scale, stored_size


def process(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Sandbox target. `header` holds PictureConfig's fields; returns facts and [encoded, thumbnail8, thumbnail].

    The facts of a picture that falls are {"reason", "evidence"}, with no bytes or with a thumbnail where there is one.
    """
    try:
        wanted = None if header["resize_mode"] == "no" else max(header["image_size"], LOOK_PIXELS)
        picture = decode(payload, header, wanted)
        width, height = picture.width, picture.height
        scaled = scale(picture.pixels, width, height, header)
        # What is stored most often is also what is looked at: then it is scaled once.
        seen = describe(scaled if max(scaled.shape[:2]) == LOOK_PIXELS < max(width, height) else picture.pixels)
        _judge(seen, header, picture.header_size)
        unchanged = stored_size(width, height, header) is None and not set(picture.repairs) - set(NOTES)
        if header["skip_reencode"] and unchanged and picture.format == header["format"]:
            stored = payload
        else:
            pixels = frame(scaled, width, height, header)
            height, width = pixels.shape[:2]
            stored = encode(pixels, header)
    except UnusableError as verdict:
        return verdict.known | {"reason": verdict.reason, "evidence": verdict.evidence}, verdict.thumbnails
    except ValueError as error:
        return picture.header_size | {"reason": "decode_failed", "evidence": str(error)[:200]}, []
    facts = {
        "width": width,
        "height": height,
        "original_width": picture.width,
        "original_height": picture.height,
        "format": header["format"],
        "repairs": picture.repairs,
        **picture.header_size,
    }
    return facts | _numbers(seen), [stored, seen.thumbnail8, seen.thumbnail]


def look(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Sandbox target: the descriptors alone, as [thumbnail8, thumbnail] and facts; nothing is stored."""
    try:
        picture = decode(payload, header, LOOK_PIXELS)
        seen = describe(picture.pixels)
        _judge(seen, header, picture.header_size)
    except UnusableError as verdict:
        return verdict.known | {"reason": verdict.reason, "evidence": verdict.evidence}, verdict.thumbnails
    return _numbers(seen), [seen.thumbnail8, seen.thumbnail]


def _judge(seen: Description, header: dict[str, Any], size: dict[str, int]) -> None:
    entropy, sharpness = (float(np.float32(number)) for number in (seen.entropy, seen.sharpness))  # as rows hold them
    fault = look_fault(entropy, sharpness, header)
    if fault is not None:
        raise UnusableError(*fault, seen.thumbnail, {"entropy": entropy, "sharpness": sharpness, **size})


def _numbers(seen: Description) -> dict[str, Any]:
    return {
        "phash": f"{seen.phash:016x}",
        "phash256": seen.phash256.hex(),
        "brightness": seen.brightness,
        "entropy": seen.entropy,
        "sharpness": seen.sharpness,
    }
