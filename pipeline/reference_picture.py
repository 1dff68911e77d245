"""One evaluation picture in the sandbox: decoded as training pictures are, described in all its variants and changes.

Evaluation sets come from users' disks and are decoded by the same C libraries as the web's pictures, so they get the
same child process. A picture that cannot be read is a counted reason.
"""

import io
from typing import Any

from PIL import Image

from pipeline.changes import VARIANTS, plant
from pipeline.descriptors import perceptual_hash, perceptual_hash256, thumbnail8
from pipeline.picture import process
from pipeline.picture_config import PictureConfig

TARGET = "pipeline.reference_picture:describe"
LARGEST_SIDE_PIXELS = 512
"""Changes are planted in a picture of at most this side: descriptors look at 64 pixels, JPEG at more."""
VARIANT_SIDE_PIXELS = 160
"""Side that variants are made at: halves the time, costs 1 % of the crops found (measured against 256)."""
FEATURELESS_LEVELS = 2.0
"""Standard deviation (0..255) of the thumbnail below which a picture is plain: its hash would be noise, and all plain
pictures are near each other (CLIP's false overlaps of Kinetics-700 were black frames: arXiv:2103.00020, section 5)."""

DECODING = PictureConfig(
    image_size=LARGEST_SIDE_PIXELS,
    resize_mode="keep_ratio_largest",
    format="png",
    encode_quality=1,
    skip_reencode=False,
    maximum_aspect_ratio=1e6,
).picture_header()


def describe(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Sandbox target. `header` names variants, changes (may be empty) and the seed of what is planted.

    Gives {"phash": [16 hex digits, ...]} for variants then changes, and their 256-bit hashes and thumbnails, joined; or
    the reason and evidence of a picture that falls.
    """
    facts, blobs = process(DECODING, payload)
    if "reason" in facts:
        return {"reason": facts["reason"], "evidence": facts["evidence"]}, []
    with Image.open(io.BytesIO(blobs[0]), formats=("PNG",)) as stored:
        picture = stored.convert("RGB")
    if _deviation(blobs[1]) < FEATURELESS_LEVELS:
        return {"reason": "featureless", "evidence": f"{_deviation(blobs[1]):.2f} grey levels"}, []
    small = picture.copy()
    small.thumbnail((VARIANT_SIDE_PIXELS, VARIANT_SIDE_PIXELS), Image.Resampling.BOX)
    # The picture itself is described at its full size, exactly as training pictures are.
    forms = [picture if name == "same" else VARIANTS[name](small) for name in header["variants"]]
    forms += [plant(picture, name, header["seed"]) for name in header["changes"]]
    hashes = [perceptual_hash(form) for form in forms]
    longs, looks = [perceptual_hash256(form) for form in forms], [thumbnail8(form) for form in forms]
    if "same" in header["variants"]:
        place = header["variants"].index("same")
        hashes[place], looks[place] = int(facts["phash"], 16), blobs[1]
    return {"phash": [f"{value:016x}" for value in hashes]}, [b"".join(longs), b"".join(looks)]


def _deviation(look: bytes) -> float:
    """Standard deviation of the thumbnail's grey levels; colour that differs at equal grey is counted with it."""
    mean = [sum(look[channel::3]) / (len(look) // 3) for channel in range(3)]
    spread = sum((value - mean[number % 3]) ** 2 for number, value in enumerate(look))
    return float((spread / len(look)) ** 0.5)
