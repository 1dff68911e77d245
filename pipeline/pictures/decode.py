"""Hostile bytes to plain pixels: header judged first, decoded once, repaired. Runs inside the sandbox.

Repairs are what img2dataset 1.47 leaves out (infra/benchmarks/hostile.md): EXIF orientation is ignored and then lost, 16-bit
pictures turn white, colour profiles are dropped, a bomb is decoded before it is measured. Grey stays one channel, as with it.

A JPEG at least twice as large as wanted is decoded at 1/2, 1/4 or 1/8: its DCT blocks are inverted at fewer points (libjpeg's
scale_denom). On 216 photographs the stored pixels then differ from those of a full decode and area averaging by 2.0 of 255
levels on average; encoding as JPEG of quality 95 alone makes 1.5.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile

from pipeline.pictures import colour, formats
from pipeline.pictures.filters import size_fault

NOTES = (colour.IGNORED,)
"""Words in `repairs` that changed nothing, so the downloaded bytes may still be stored."""
_GREY = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4}
_GREY |= {8: cv2.IMREAD_REDUCED_GRAYSCALE_8}
_COLOUR = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
_COLOUR |= {8: cv2.IMREAD_REDUCED_COLOR_8}
_ORIENTATION = 0x0112
_PILLOWS_PIXELS = 178_956_970
"""Pillow's own limit: it warns above it and raises above twice as many."""
_MAX_SCANS = 100
_JPEG_EXIF = {"exif", "xmp", "XML:com.adobe.xmp"}
"""What of a JPEG's `info` Pillow looks for an orientation in."""
_PNG_EXIF = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")

cv2.setNumThreads(1)  # one picture, one core: the workers are many
ImageFile.LOAD_TRUNCATED_IMAGES = False


class UnusableError(Exception):
    """A picture that falls: (reason, evidence), with its thumbnail where it was decoded before, and what else is known of it."""

    def __init__(
        self, reason: str, evidence: str, thumbnail: bytes | None = None, known: dict[str, Any] | None = None
    ) -> None:
        super().__init__(reason, evidence)
        self.reason, self.evidence, self.known = reason, evidence, known or {}
        self.thumbnails = [thumbnail] if thumbnail is not None else []


@dataclass(frozen=True)
class Decoded:
    """`pixels` are 8-bit, BGR (height, width, 3) or grey (height, width), upright; maybe smaller than the original."""

    pixels: np.ndarray
    width: int
    height: int
    format: str
    repairs: list[str]
    header_size: dict[str, int]  # as the header says it, lying or upright


def decode(payload: bytes, header: dict[str, Any], wanted_side: int | None) -> Decoded:
    """Decode a picture of which `wanted_side` pixels will be used (None: all). Raises UnusableError."""
    picture = _open(payload, header["maximum_pixels"])
    size = dict(zip(("header_width", "header_height"), picture.size, strict=True))
    try:
        return _decode(picture, size, payload, header, wanted_side)
    except UnusableError as verdict:
        verdict.known |= size
        raise


def _decode(
    picture: Image.Image, size: dict[str, int], payload: bytes, header: dict[str, Any], wanted_side: int | None
) -> Decoded:
    _check(*picture.size, header)
    _check_scans(picture, payload)
    repairs: list[str] = []
    format = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}.get(picture.format or "", "other")
    width, height = picture.size
    try:
        factor = _factor(picture, header, wanted_side) if format == "jpg" else 1
        pixels = None
        if _is_plain(picture):
            pixels = _by_opencv(picture, payload, factor, repairs)
        if pixels is None:  # all other kinds, and for what OpenCV cannot read Pillow has words
            pixels = _by_pillow(picture, header, factor, repairs)
        if factor == 1 and (width, height) != (pixels.shape[1], pixels.shape[0]):
            height, width = pixels.shape[:2]  # a GIF's first frame may be larger than its screen
            _check(width, height, header)
        orientation = _orientation(picture, payload)
    except UnusableError:
        raise
    except formats.UnreadFormatError as verdict:
        raise UnusableError("unsupported_format", str(verdict)) from None
    except Exception as error:
        raise UnusableError("decode_failed", f"{type(error).__name__}: {error}"[:200]) from None
    if orientation in range(2, 9):
        pixels = _upright(pixels, orientation)
        repairs.append("exif_rotated")
        if orientation >= 5:
            width, height = height, width
    return Decoded(np.ascontiguousarray(pixels), width, height, format, repairs, size)


def _open(payload: bytes, maximum_pixels: int) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = max(_PILLOWS_PIXELS, maximum_pixels)  # the recipe's limit holds, also above Pillow's own
    try:
        return formats.open_picture(payload)
    except Image.DecompressionBombError:
        raise UnusableError("pixel_limit", f"more than {maximum_pixels:,} pixels") from None
    except formats.UnreadFormatError as verdict:
        raise UnusableError("unsupported_format", str(verdict)) from None
    except Exception as error:
        raise UnusableError("not_an_image", f"{type(error).__name__}, begins {payload[:16]!r}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = _PILLOWS_PIXELS


def _check(width: int, height: int, header: dict[str, Any]) -> None:
    """Judge the size by the header, before a single pixel is decoded."""
    fault = size_fault(width, height, header)
    if fault is not None:
        raise UnusableError(*fault)


def _check_scans(picture: Image.Image, payload: bytes) -> None:
    """A scan of 60 bytes costs as much time as a whole picture. Photographs have 14 at most, cameras' trailing films look like
    one scan in 65,536 bytes."""
    if "progressive" in picture.info:
        scans = payload.count(b"\xff\xda")
        if scans > _MAX_SCANS + len(payload) // 16_384:
            raise UnusableError("decode_failed", f"{scans:,} scans in {len(payload):,} bytes")


def _factor(picture: Image.Image, header: dict[str, Any], wanted_side: int | None) -> int:
    if wanted_side is None or header["downscale"] == "area":
        return 1
    side = max(picture.size) if header["resize_mode"] in ("border", "keep_ratio_largest") else min(picture.size)
    return next((factor for factor in (8, 4, 2) if side >= factor * wanted_side), 1)


def _is_plain(picture: Image.Image) -> bool:
    """Nothing that needs repair, so the faster decoder may have it."""
    return (
        picture.format in ("JPEG", "PNG", "WEBP")
        and picture.mode in ("L", "RGB")
        and "transparency" not in picture.info
        and not getattr(picture, "is_animated", False)
        and not _is_deep(picture)
    )


def _is_deep(picture: Image.Image) -> bool:
    """16 bits per channel: Pillow reads such colour as 8 bits and tells by the name of its raw mode alone."""
    return any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))


def _by_opencv(picture: Image.Image, payload: bytes, factor: int, repairs: list[str]) -> np.ndarray | None:
    """The decoder that img2dataset uses, so equal bits; two thirds of Pillow's time. None where it cannot."""
    flags = (_GREY if picture.mode == "L" else _COLOUR)[factor] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(payload, np.uint8), flags)
    if pixels is None:
        return None
    if profile := picture.info.get("icc_profile"):
        found = Image.fromarray(pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        converted, word = colour.to_srgb(found, profile)
        if word is not None:
            repairs.append(word)
        if converted is not found:
            return _plain(converted)
    return pixels


def _by_pillow(picture: Image.Image, header: dict[str, Any], factor: int, repairs: list[str]) -> np.ndarray:
    if getattr(picture, "is_animated", False):
        picture.seek(0)
        repairs.append("first_frame")
    if factor > 1:
        picture.draft("", (picture.width // factor, picture.height // factor))
    if _is_deep(picture) or picture.mode.startswith("I"):
        repairs.append("sixteen_bit")
    if (loaded := formats.load_odd_depth(picture)) is not None:
        picture = loaded
    else:
        _load(picture, header["accept_truncated"], repairs)
    profile, alpha = picture.info.get("icc_profile"), None
    if picture.mode.startswith("I"):
        picture = formats.grey_of_sixteen_bits(picture)
    elif picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        repairs.append("alpha")
        layer = picture.convert("RGBA")
        alpha, picture = np.asarray(layer.getchannel("A")), layer.convert("RGB")
    elif picture.mode == "CMYK":
        repairs.append("cmyk")
    elif picture.mode == "LAB":
        picture = formats.colours_of_lab(picture)
    elif picture.mode == "F":
        raise formats.UnreadFormatError(f"{picture.format} with samples that are fractions")
    elif picture.mode not in ("RGB", "L"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    if profile:
        picture, word = colour.to_srgb(picture, profile)
        if word is not None:
            repairs.append(word)
    pixels = _plain(picture if picture.mode in ("RGB", "L") else picture.convert("RGB"))
    return pixels if alpha is None else _on_white(pixels, alpha)


def _load(picture: Image.Image, accept_truncated: bool, repairs: list[str]) -> None:
    try:
        picture.load()
    except OSError:
        if not accept_truncated:
            raise
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            picture.load()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        repairs.append("truncated")


def _plain(picture: Image.Image) -> np.ndarray:
    """BGR or grey pixels of a picture of mode RGB or L."""
    pixels = np.asarray(picture)
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """img2dataset's matting, number for number."""
    share = alpha[:, :, None] / 255
    return np.rint(np.clip(share * pixels + 255 - alpha[:, :, None], 0, 255)).astype(np.uint8)


def _orientation(picture: Image.Image, payload: bytes) -> int:
    """EXIF orientation 1 to 8; 1 where there is none that can be read."""
    if picture.format == "PNG" and not any(word in payload for word in _PNG_EXIF):
        return 1  # Pillow would decode the whole picture once more to look behind it
    if picture.format == "JPEG" and not _JPEG_EXIF & picture.info.keys():
        return 1  # most have none, and to find that out costs Pillow as much as reading the header did
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # metadata is free text by whoever: unreadable is as good as none
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the EXIF orientation (2..8): what is stored lying down is set up."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)  # 1 left-right, 0 top-bottom, -1 both; 5 none
    return pixels if flip is None else cv2.flip(pixels, flip)
