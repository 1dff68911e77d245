"""Which pictures are kept and in which form: what the sandboxed decoder is told, and the columns that it gives."""

from typing import Any

import pyarrow as pa
from pydantic import Field

from pipeline.settings import Settings


class PictureConfig(Settings):
    """Which pictures are kept, and the form they are stored in (names and defaults of img2dataset where it has them)."""

    image_size: int = Field(256, ge=1)
    """Side of the stored picture in pixels; what it means depends on `resize_mode`."""
    resize_mode: str = Field("keep_ratio_largest", pattern="^(border|keep_ratio|keep_ratio_largest|center_crop|no)$")
    """img2dataset's modes; its default is border, DataComp stores keep_ratio_largest."""
    resize_only_if_bigger: bool = True
    """Never enlarge a picture."""
    format: str = Field("jpg", pattern="^(jpg|png|webp)$")
    """Format of the stored pictures."""
    encode_quality: int = Field(95, ge=0, le=100)
    """Quality of jpg and webp; compression level 0-9 of png."""
    skip_reencode: bool = True
    """Store the downloaded bytes as they are when nothing has to change."""
    minimum_side_pixels: int = Field(0, ge=0)
    """Shortest side (DataComp's basic filter: 200)."""
    maximum_aspect_ratio: float = Field(3.0, ge=1)
    """Longest side over shortest (DataComp, COYO: 3.0)."""
    maximum_pixels: int = Field(64_000_000, ge=1)
    """Header size above which a picture is not even decoded (decompression bombs)."""

    def picture_header(self) -> dict[str, Any]:
        """These fields alone, as `pipeline.picture.process` reads them in the sandbox."""
        return self.model_dump(include=set(PictureConfig.model_fields))


IMAGE_COLUMNS = (
    ("image", pa.binary()),
    ("format", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("original_width", pa.int32()),
    ("original_height", pa.int32()),
    ("sha256", pa.string()),
    ("repairs", pa.list_(pa.string())),
    ("phash", pa.uint64()),
    ("thumbnail8", pa.binary()),
    ("thumbnail", pa.binary()),
)
"""What a decoded picture adds to its row."""
