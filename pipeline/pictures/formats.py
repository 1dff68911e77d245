"""Which formats of pictures are read: those that browsers draw at once, three more where a payload begins like one of them.

The three (TIFF, JPEG 2000, PNM) are what img2dataset's OpenCV reads besides. Nearly no picture of the web is one, so a payload is
tried as what browsers draw first, and a rare one costs the common ones nothing. All others fall by name: each parser is one more
for hostile bytes.
"""

import io

import numpy as np
from PIL import Image, ImageCms

COMMON = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
"""What browsers draw, in Pillow's names."""
RARE = {"TIFF": "TIFF", "JPEG 2000": "JPEG2000", "PNM": "PPM"}
"""Name -> Pillow's name. Pillow's other parsers stay closed to what comes from the web."""
_STARTS = {
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "PNM": tuple(b"P%d%c" % (kind, blank) for kind in range(1, 7) for blank in b"\n\r\t "),
    "PAM": (b"P7\n",),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "ICO": (b"\0\0\1\0",),
    "PSD": (b"8BPS",),
}
_PHOTOMETRIC, _BITS = 262, 258


class UnreadFormatError(Exception):
    """A picture of a format that is known by name and not read; the text is the evidence."""


def open_picture(payload: bytes) -> Image.Image:
    """The picture with nothing but its header read (of several pages the first).

    Raises UnreadFormatError, Image.DecompressionBombError, or what Pillow raises where these bytes are no picture.
    """
    try:
        return Image.open(io.BytesIO(payload), formats=COMMON)
    except Image.DecompressionBombError:
        raise
    except Exception:
        name = _name(payload)
        if name in RARE:
            return Image.open(io.BytesIO(payload), formats=(RARE[name],))
        if name is not None:
            raise UnreadFormatError(f"{name}; {', '.join((*COMMON, *RARE))} are read") from None
        raise


def _name(payload: bytes) -> str | None:
    """What `payload` begins like, where that is none of COMMON."""
    if payload[4:8] == b"ftyp" and payload[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "HEIF"
    return next((name for name, starts in _STARTS.items() if payload.startswith(starts)), None)


def load_odd_depth(picture: Image.Image) -> Image.Image | None:
    """A binary PNM whose largest level is not 255, as 8 bits; None for all else.

    Pillow reads these pixel by pixel in Python: 9 megapixels are 20 seconds. Raises OSError where bytes are missing.
    """
    if picture.format != "PPM" or picture.tile[0].codec_name != "ppm":  # type: ignore[attr-defined]
        return None
    _, _, offset, arguments = picture.tile[0]  # type: ignore[attr-defined]
    largest, channels = arguments[-1], len(picture.getbands())
    width, height = picture.size
    kind = np.dtype(">u2" if largest > 255 else "u1")
    picture.fp.seek(offset)  # type: ignore[attr-defined]
    data = picture.fp.read(width * height * channels * kind.itemsize)  # type: ignore[attr-defined]
    if len(data) < width * height * channels * kind.itemsize:
        raise OSError(f"PNM ends after {len(data)} bytes of pixels")
    samples_HWC = np.frombuffer(data, kind).reshape((height, width) + (channels,) * (channels > 1))
    levels_HWC = samples_HWC * np.float32(255 / largest)
    levels_HWC += 0.5
    return Image.fromarray(np.minimum(levels_HWC, 255, out=levels_HWC).astype(np.uint8))


def grey_of_sixteen_bits(picture: Image.Image) -> Image.Image:
    """A loaded picture of mode I or I;16 as grey of 8 bits; a transparent level is white.

    Raises UnreadFormatError for a TIFF with samples of 32 bits or with a sign: what of them is white nobody says.
    """
    darkest_is_white, levels = False, 65_535
    if picture.format == "TIFF":
        if picture.mode == "I":
            raise UnreadFormatError("TIFF with samples of 32 bits or with a sign")
        tags = picture.tag_v2  # type: ignore[attr-defined]
        darkest_is_white = tags.get(_PHOTOMETRIC) == 0  # Pillow turns it for 8 bits alone
        levels = 4_095 if tags.get(_BITS) == (12,) else levels
    values = np.asarray(picture).astype(np.float64)
    grey = np.clip(values * (255 / levels) + 0.5, 0, 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(255 - grey if darkest_is_white else grey)


def colours_of_lab(picture: Image.Image) -> Image.Image:
    """CIELAB, which only a TIFF has, as sRGB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    found = ImageCms.applyTransform(picture, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert found is not None
    return found
