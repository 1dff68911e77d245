"""Which pictures fall by their size or their looks; light to import, since each sandboxed decoder does."""

from collections.abc import Mapping
from typing import Any

FILTERS = (
    "minimum_side_pixels",
    "maximum_aspect_ratio",
    "maximum_pixels",
    "minimum_entropy",
    "minimum_sharpness",
)
"""Fields that decide whether a picture is kept, and change nothing of one that is."""


def size_fault(width: int, height: int, header: Mapping[str, Any]) -> tuple[str, str] | None:
    """(reason, evidence) of a size that a picture_header does not allow."""
    said = f"{width} x {height}"
    if min(width, height) < 1:
        return "decode_failed", said
    if width * height > header["maximum_pixels"]:
        return "pixel_limit", said
    if min(width, height) < header["minimum_side_pixels"]:
        return "image_too_small", said
    if max(width, height) / min(width, height) > header["maximum_aspect_ratio"]:
        return "aspect_too_extreme", said
    return None


def look_fault(entropy: float, sharpness: float, header: Mapping[str, Any]) -> tuple[str, str] | None:
    """(reason, evidence) of statistics that a picture_header does not allow; both as float32 holds them."""
    if entropy < header["minimum_entropy"]:
        return "image_blank", f"entropy {entropy:.2f} bits"
    if sharpness < header["minimum_sharpness"]:
        return "image_blurred", f"sharpness {sharpness:.1f}"
    return None
