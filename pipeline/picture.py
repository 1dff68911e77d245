"""One hostile picture: check its header, decode it once, repair what is odd, describe it, resize and encode it.

Runs inside the sandbox (a limited child process), so a crash or a hang of a decoder costs this picture only. Repairs are
what img2dataset leaves out (measured on 1.47): EXIF orientation is ignored and then lost, 16-bit pictures turn white,
CMYK comes out in wrong colours.
"""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pipeline.descriptors import perceptual_hash, thumbnail8
from pipeline.resize import resize

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What browsers draw; Pillow's other parsers stay closed to what comes from the web."""
THUMBNAIL_PIXELS = 96


class UnusableError(Exception):
    """A picture that falls: (reason, evidence)."""

    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(reason, evidence)
        self.reason, self.evidence = reason, evidence


def process(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Sandbox target. `header` holds FetchConfig's picture fields; returns facts and [encoded, thumbnail8, thumbnail].

    The facts of a picture that falls are {"reason", "evidence"}, with no bytes or with a thumbnail where there is one.
    """
    try:
        picture, format = _open(payload)
        _check(picture, header)
        repaired, repairs = _decode(picture)
    except UnusableError as verdict:
        return {"reason": verdict.reason, "evidence": verdict.evidence}, []
    width, height = repaired.size
    stored = payload
    if header["skip_reencode"] and not repairs and format == header["format"] and _small(width, height, header):
        new_width, new_height = width, height
    else:
        try:
            stored, new_width, new_height = resize(
                _bitmap(repaired),
                header["image_size"],
                header["resize_mode"],
                header["resize_only_if_bigger"],
                header["format"],
                header["encode_quality"],
            )
        except ValueError as error:
            return {"reason": "decode_failed", "evidence": str(error)[:200]}, []
    facts = {
        "width": new_width,
        "height": new_height,
        "original_width": width,
        "original_height": height,
        "format": header["format"],
        "repairs": repairs,
        "phash": f"{perceptual_hash(repaired):016x}",
    }
    return facts, [stored, thumbnail8(repaired), _thumbnail(repaired)]


def _open(payload: bytes) -> tuple[Image.Image, str]:
    try:
        picture = Image.open(io.BytesIO(payload), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UnusableError("pixel_limit", str(error)[:200]) from None
    except Exception as error:
        raise UnusableError("not_an_image", f"{type(error).__name__}, begins {payload[:16]!r}") from None
    return picture, {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}.get(picture.format or "", "other")


def _check(picture: Image.Image, header: dict[str, Any]) -> None:
    """Judge the size by the header, before a single pixel is decoded."""
    width, height = picture.size
    if width * height > header["maximum_pixels"]:
        raise UnusableError("pixel_limit", f"{width} x {height}")
    if min(width, height) < header["minimum_side_pixels"]:
        raise UnusableError("image_too_small", f"{width} x {height}")
    if max(width, height) / min(width, height) > header["maximum_aspect_ratio"]:
        raise UnusableError("aspect_too_extreme", f"{width} x {height}")


def _decode(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """(RGB or grey 8-bit picture, upright, first frame; the names of what had to be repaired)."""
    repairs: list[str] = []
    try:
        if getattr(picture, "is_animated", False):
            picture.seek(0)
            repairs.append("first_frame")
        picture.load()
        orientation = picture.getexif().get(0x0112, 1)
        if orientation in range(2, 9):
            picture = ImageOps.exif_transpose(picture)
            repairs.append("exif_rotated")
        if picture.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
            repairs.append("sixteen_bit")
            picture = _eight_bits(picture)
        elif picture.mode == "CMYK":
            repairs.append("cmyk")
            picture = picture.convert("RGB")
        elif picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            repairs.append("alpha")
            layer = picture.convert("RGBA")
            picture = Image.new("RGB", layer.size, (255, 255, 255))  # white, as img2dataset's matting
            picture.paste(layer, mask=layer.getchannel("A"))
        elif picture.mode not in ("RGB", "L"):
            picture = picture.convert("RGB")
    except Exception as error:
        raise UnusableError("decode_failed", f"{type(error).__name__}: {error}"[:200]) from None
    return picture, repairs


def _eight_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.float64)
    return Image.fromarray(np.clip(values / 257.0 + 0.5, 0, 255).astype(np.uint8), "L")


def _small(width: int, height: int, header: dict[str, Any]) -> bool:
    side = max(width, height) if header["resize_mode"] in ("border", "keep_ratio_largest") else min(width, height)
    return header["resize_mode"] == "no" or (header["resize_only_if_bigger"] and side <= header["image_size"])


def _bitmap(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "BMP")  # no compression: the Resizer takes encoded bytes, and this form costs a copy only
    return sink.getvalue()


def _thumbnail(picture: Image.Image) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=80)
    return sink.getvalue()
