"""Odd pictures come out right, broken ones fall with a reason, whatever the bytes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.picture import process
from pipeline.picture_config import PictureConfig

RED, BLUE = (230, 30, 20), (20, 40, 220)


def two_halves(width: int = 60, height: int = 40) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def encoded(picture: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, format, **({"quality": 95} if format == "JPEG" else {}) | options)
    return sink.getvalue()


def run(payload: bytes, **settings: Any) -> tuple[dict[str, Any], Image.Image | None]:
    header = PictureConfig(**settings).picture_header()
    facts, blobs = process(header, payload)
    return facts, Image.open(io.BytesIO(blobs[0])) if blobs else None


def corner_colours(picture: Image.Image) -> tuple[Any, Any]:
    rgb = picture.convert("RGB")
    return rgb.getpixel((3, 3)), rgb.getpixel((rgb.width - 4, rgb.height - 4))


def near(colour: Any, wanted: tuple[int, int, int], tolerance: int = 25) -> bool:
    return max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) <= tolerance


def test_a_small_jpeg_is_stored_as_it_came() -> None:
    payload = encoded(two_halves())
    facts, _ = run(payload)
    header = PictureConfig().picture_header()
    assert process(header, payload)[1][0] == payload
    assert (facts["width"], facts["height"], facts["repairs"]) == (60, 40, [])


def test_a_large_picture_is_resized_by_img2dataset() -> None:
    facts, picture = run(encoded(two_halves(600, 400)), image_size=64)
    assert picture is not None
    assert picture.size == (64, 43) == (facts["width"], facts["height"])
    assert (facts["original_width"], facts["original_height"]) == (600, 400)


@pytest.mark.parametrize(
    ("mode", "size"), [("border", (64, 64)), ("center_crop", (64, 64)), ("keep_ratio", (96, 64)), ("no", (600, 400))]
)
def test_the_resize_modes_are_img2datasets(mode: str, size: tuple[int, int]) -> None:
    _, picture = run(encoded(two_halves(600, 400)), image_size=64, resize_mode=mode)
    assert picture is not None
    assert picture.size == size


def test_cmyk_keeps_its_colours() -> None:
    facts, picture = run(encoded(two_halves().convert("CMYK")))
    assert facts["repairs"] == ["cmyk"]
    assert picture is not None
    left, right = corner_colours(picture)
    assert near(left, RED)
    assert near(right, BLUE)


def test_sixteen_bits_are_scaled_and_not_clipped_to_white() -> None:
    values = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (40, 1))
    facts, picture = run(encoded(Image.fromarray(values), "PNG"))
    assert facts["repairs"] == ["sixteen_bit"]
    assert picture is not None
    grey = np.asarray(picture.convert("L"), dtype=float)
    assert np.abs(grey.mean(axis=0) - np.linspace(0, 255, 64)).max() < 8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_stored_lying_down_is_set_up(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = two_halves()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright.transpose(Image.Transpose(undo))
    facts, picture = run(encoded(stored, exif=exif.tobytes()))
    assert facts["repairs"] == ["exif_rotated"]
    assert picture is not None
    assert picture.size == (60, 40)
    left, right = corner_colours(picture)
    assert near(left, RED)
    assert near(right, BLUE)


def test_transparency_becomes_white() -> None:
    layer = two_halves().convert("RGBA")
    layer.putalpha(Image.new("L", layer.size, 0))
    facts, picture = run(encoded(layer, "PNG"))
    assert facts["repairs"] == ["alpha"]
    assert picture is not None
    assert near(corner_colours(picture)[0], (255, 255, 255))


def test_of_an_animation_the_first_frame_stays() -> None:
    frames = [two_halves().convert("P"), Image.new("RGB", (60, 40), (0, 255, 0)).convert("P")]
    facts, picture = run(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert "first_frame" in facts["repairs"]
    assert picture is not None
    assert near(corner_colours(picture)[0], RED, 40)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_an_image"),
        (b"<!doctype html><html><body>404</body></html>", "not_an_image"),
        (encoded(two_halves(600, 400))[:2000], "decode_failed"),
        (encoded(two_halves(), "PNG")[:-30], "decode_failed"),
        (encoded(two_halves(12, 12)), "image_too_small"),
        (encoded(two_halves(400, 40)), "aspect_too_extreme"),
        (encoded(Image.new("1", (9000, 9000)), "PNG"), "pixel_limit"),
        (encoded(two_halves(), "TIFF"), "not_an_image"),
        (encoded(two_halves(), "PPM"), "not_an_image"),
    ],
)
def test_what_cannot_be_used_falls_with_its_reason(payload: bytes, reason: str) -> None:
    facts, picture = run(payload, minimum_side_pixels=24)
    assert (facts.get("reason"), picture) == (reason, None)


def test_hostile_pictures_get_a_verdict_and_never_an_exception(shared: Path) -> None:
    files = sorted(path for path in (shared / "data" / "fuzz-pillow").rglob("*") if path.is_file())
    verdicts = [run(path.read_bytes())[0].get("reason", "kept") for path in files]
    assert len(verdicts) > 30
    assert {"not_an_image", "decode_failed"} <= set(verdicts)
