"""Pictures as a scorer wants them: decoded in the sandbox, cut to squares of one size, uint8 RGB.

A stored picture may still be the very bytes a stranger's server sent (`skip_reencode`), so it is opened in the limited
child process like any other. The three ways to find the middle are those of the models' own preprocessing.
"""

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.execution.sandbox import SandboxDied, shared
from pipeline.scoring.scorers import PixelForm

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
Fall = tuple[str, str]
"""(reason, evidence) of a picture that cannot be opened."""


def square(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Sandbox target: one blob of side x side x 3 bytes, or {"reason", "evidence"}."""
    try:
        with Image.open(io.BytesIO(payload), formats=("JPEG", "PNG", "WEBP")) as picture:
            pixels = cut_square(picture.convert("RGB"), PixelForm(**header))
    except Exception as error:
        return {"reason": "decode_failed", "evidence": type(error).__name__}, []
    return {}, [pixels.tobytes()]


def cut_square(picture: Image.Image, form: PixelForm) -> Image.Image:
    """The RGB picture as a square of `form.side` pixels."""
    width, height = picture.size
    side, resample = form.side, FILTERS[form.filter]
    if form.cut == "squash":
        return picture.resize((side, side), resample)
    if form.cut == "box":
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        return picture.resize((side, side), resample, box=(left, top, left + short, top + short))
    size, (left, top) = shorter_side(width, height, form)
    return picture.resize(size, resample).crop((left, top, left + side, top + side))


def shorter_side(width: int, height: int, form: PixelForm) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of the cuts "floor" and "round": the whole picture's new (width, height), and (left, top) of the middle in it."""
    side = form.side
    whole = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    spare = (whole[0] - side, whole[1] - side)
    if form.cut == "floor":
        return whole, (spare[0] // 2, spare[1] // 2)
    return whole, (round(spare[0] / 2), round(spare[1] / 2))


def squares(form: PixelForm, images: Sequence[bytes]) -> tuple[NDArray[np.uint8], list[Fall | None]]:
    """(B, side, side, 3) pixels, black where a picture fell, and why it fell."""
    pixels_BSS3 = np.zeros((len(images), form.side, form.side, 3), np.uint8)
    falls: list[Fall | None] = []
    for place, image in enumerate(images):
        try:
            facts, blobs = shared("pipeline.scoring.score_pixels:square").call(asdict(form), image)
        except SandboxDied as death:
            falls.append((death.reason, death.detail))
            continue
        if not blobs:
            falls.append((facts["reason"], facts["evidence"]))
            continue
        pixels_BSS3[place] = np.frombuffer(blobs[0], np.uint8).reshape(pixels_BSS3.shape[1:])
        falls.append(None)
    return pixels_BSS3, falls
