"""Which pictures are kept and in which form: what the sandboxed decoder is told, and the columns that it gives."""

from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.pictures.filters import FILTERS
from pipeline.sample import STORED_COLUMNS
from pipeline.settings import Settings

_ENDINGS = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "avif", "tif", "tiff", "jp2", "j2k", "ppm", "pgm", "pbm", "pnm"]
FILE_ENDINGS = tuple(f".{ending}" for ending in _ENDINGS)
"""Names of picture files end so, in any case: the formats of pictures/formats.py."""


class PictureConfig(Settings):
    """Which pictures are kept, and the form they are stored in (names and defaults of img2dataset where it has them)."""

    engine: Literal["openwit", "img2dataset"] = "openwit"
    """What makes the stored pictures: our own decoder and resizer, or the img2dataset package itself, oddities included."""
    image_size: int = Field(256, ge=1, le=16_384)
    """Side of the stored picture in pixels; what it means depends on `resize_mode`."""
    resize_mode: Literal["border", "keep_ratio", "keep_ratio_largest", "center_crop", "no"] = "keep_ratio_largest"
    """img2dataset's modes; its default is border, DataComp stores keep_ratio_largest."""
    resize_only_if_bigger: bool = True
    """Never enlarge a picture."""
    downscale: Literal["fast", "area"] = "fast"
    """How engine openwit shrinks: `area` gives img2dataset's pixels exactly; `fast` decodes large JPEGs at reduced size and
    differs from them by 2 of 255 levels on average on photographs (encoding once as JPEG of quality 95: 1.5)."""
    format: Literal["jpg", "png", "webp"] = "jpg"
    """Format of the stored pictures."""
    encode_quality: int = Field(95, ge=0, le=100)
    """Quality of jpg and webp; compression level 0-9 of png."""
    skip_reencode: bool = True
    """Store the downloaded bytes as they are when nothing has to change."""
    accept_truncated: bool = False
    """Keep a picture whose end is missing, grey where nothing came; engine openwit only."""
    minimum_side_pixels: int = Field(0, ge=0)
    """Shortest side (DataComp's basic filter: 200)."""
    maximum_aspect_ratio: float = Field(3.0, ge=1)
    """Longest side over shortest (DataComp, COYO: 3.0)."""
    maximum_pixels: int = Field(64_000_000, ge=1, le=1 << 30)
    """Header size above which a picture is not even decoded (decompression bombs); OpenCV reads no more than 2^30."""
    minimum_entropy: float = Field(0.0, ge=0, le=8)
    """Bits of the grey histogram of a picture, 0 to 8; below it is image_blank. 0 keeps all, 1 drops blank and near-blank ones."""
    minimum_sharpness: float = Field(0.0, ge=0)
    """Variance of the Laplacian of the grey picture at 256 px; below it is image_blurred. 0 keeps all (NeMo Curator: 100)."""

    @model_validator(mode="after")
    def _png_level(self) -> "PictureConfig":
        if self.format == "png" and self.encode_quality > 9:
            raise ValueError(f"encode_quality {self.encode_quality}: png takes a compression level of 0 to 9; write 6")
        return self

    def picture_header(self) -> dict[str, Any]:
        """These fields alone, as `pipeline.pictures.picture.process` reads them in the sandbox."""
        return self.model_dump(include=set(PictureConfig.model_fields))

    def stored_form(self) -> dict[str, Any]:
        """What a stored picture's bytes depend on: `picture_header` less the filters, which are applied to what is stored
        (img2dataset applies its own before it says what it saw)."""
        header = self.picture_header()
        return header if self.engine == "img2dataset" else {k: v for k, v in header.items() if k not in FILTERS}


IMAGE_COLUMNS = (
    *STORED_COLUMNS,
    ("phash", pa.uint64()),
    ("phash256", pa.binary()),  # 32 bytes
    ("brightness", pa.float32()),  # mean grey level, 0..255
    ("entropy", pa.float32()),  # bits of the grey histogram, 0..8
    ("sharpness", pa.float32()),  # variance of the Laplacian at 256 px
    ("thumbnail8", pa.binary()),
    ("thumbnail", pa.binary()),
)
"""What a decoded picture adds to its row."""
