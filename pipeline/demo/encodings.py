"""Pictures as files: JPEG, PNG and WebP as the web has them, and the odd and broken files that curation must cope with."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}

_ORIENTATION_TAG = 0x0112
# EXIF orientation -> the transposition that stores an upright picture that way (the inverse of what a reader applies).
_STORED_AS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    return _saved(image, "JPEG", quality=quality)


def ordinary(image: Image.Image, number: int) -> tuple[bytes, str]:
    """The file and its ending: of ten pictures eight are JPEG, one is PNG, one is WebP."""
    if number % 10 == 3:
        return _saved(image, "PNG"), "png"
    if number % 10 == 7:
        return _saved(image, "WEBP", quality=90), "webp"
    return jpeg(image, quality=82 + number % 14), "jpg"


def cmyk_jpeg(image: Image.Image) -> bytes:
    """Four inks, no profile: what a print shop uploads."""
    return jpeg(image.convert("CMYK"))


def sixteen_bit_png(image: Image.Image) -> bytes:
    """Grey at 16 bits per pixel, written by hand (PNG specification, 11.2): few libraries write it, many read it wrongly."""
    grey = np.asarray(image.convert("L"), dtype=np.uint16) * 257  # 255 becomes 65535
    height, width = grey.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in grey)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def exif_rotated_jpeg(image: Image.Image, number: int) -> bytes:
    """Stored lying on a side or on its head, with the EXIF orientation that a reader has to apply."""
    orientation = (6, 8, 3)[number % 3]
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = orientation
    return _saved(image.transpose(_STORED_AS[orientation]), "JPEG", quality=92, exif=exif.tobytes())


def truncated_jpeg(image: Image.Image) -> bytes:
    """A JPEG cut off half way through its pixels."""
    data = jpeg(image)
    start = data.index(b"\xff\xda")  # start of scan: everything before is headers
    return data[: start + (len(data) - start) // 2]


def tiny(image: Image.Image, number: int) -> bytes:
    side = 8 + number % 9
    return jpeg(image.resize((side, side), Image.Resampling.BOX))


def strip(image: Image.Image, number: int) -> bytes:
    """Six to nine times as long as wide, lying or standing; its short side is long enough for any size filter."""
    long = image.resize((image.width * (6 + number % 4), image.height), Image.Resampling.BICUBIC)
    return jpeg(long if number % 2 == 0 else long.transpose(Image.Transpose.ROTATE_90))


COPIES = {
    "recompressed": (40, 55, 70, 80),
    "resized": (0.75, 1.5, 1.25, 0.9),
    "cropped": (2, 1),
}
"""What people do to a picture before they post it again: JPEG quality, scale, pixels cut from each border; boldest first."""


def near_copy(image: Image.Image, kind: str, how: float) -> bytes:
    """A copy that a person takes for the same picture; `kind` and `how` as in COPIES."""
    width, height = image.size
    if kind == "recompressed":
        return jpeg(image, quality=int(how))
    if kind == "resized":
        return jpeg(image.resize((round(width * how), round(height * how)), Image.Resampling.LANCZOS), quality=86)
    cut = int(how)
    return jpeg(image.crop((cut, cut, width - cut, height - cut)), quality=86)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()
