"""Decoding and resizing: Pillow's pixels to the last bit, a stated difference for the fast way, damage told from pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from training.data.decode import BrokenPictureError, decode, plain_jpeg_size
from training.data.resize import Pixels, cut, resize_and_crop


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int, seed: int = 0, grain: int = 16) -> Image.Image:
    """Noise whose details are `grain` pixels large."""
    coarse = Image.fromarray(noise(max(2, height // grain), max(2, width // grain), seed))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image, **options: object) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", **({"quality": 95} | options))  # type: ignore[arg-type]
    return sink.getvalue()


def test_cut_gives_pillows_pixels_bit_for_bit() -> None:
    draw = np.random.default_rng(1)
    for turn in range(400):
        height, width = (int(each) for each in draw.integers(1, 200, 2))
        size = int(draw.integers(4, 120))
        whole = turn % 3 == 0
        left, right = sorted(draw.integers(0, width + 1, 2) if whole else draw.random(2) * width)
        top, bottom = sorted(draw.integers(0, height + 1, 2) if whole else draw.random(2) * height)
        if left == right or top == bottom:
            continue
        box = (float(left), float(top), float(right), float(bottom))
        pixels = noise(height, width, turn)
        out = np.empty((3, size, size), np.uint8)
        cut(pixels, box, size, out)
        wanted = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC, box=box)
        assert np.array_equal(out, np.asarray(wanted).transpose(2, 0, 1)), (height, width, size, box)


def test_resize_and_crop_gives_pillows_pixels_bit_for_bit() -> None:
    draw = np.random.default_rng(2)
    for turn in range(200):
        height, width = (int(each) for each in draw.integers(8, 250, 2))
        side = int(draw.integers(4, 120))
        whole = (side, side * height // width) if width <= height else (side * width // height, side)
        corner = (int(draw.integers(0, whole[0] - side + 1)), int(draw.integers(0, whole[1] - side + 1)))
        pixels = noise(height, width, turn)
        out = np.empty((3, side, side), np.uint8)
        resize_and_crop(pixels, whole, corner, side, out)
        resized = Image.fromarray(pixels).resize(whole, Image.Resampling.BICUBIC)
        wanted = resized.crop((*corner, corner[0] + side, corner[1] + side))
        assert np.array_equal(out, np.asarray(wanted).transpose(2, 0, 1)), (height, width, whole, corner)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 40}])
def test_decoded_jpegs_are_pillows(mode: str, options: dict[str, object]) -> None:
    data = jpeg(smooth(77, 101).convert(mode), **options)
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(data), wanted)
    assert plain_jpeg_size(data) == (None if mode == "CMYK" else (101, 77))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_other_formats_are_pillows(mode: str, kind: str) -> None:
    picture = smooth(20, 31).convert(mode if mode != "I;16" else "I").convert(mode) if mode != "RGB" else smooth(20, 31)
    if mode == "I;16" and kind != "PNG":
        picture = picture.convert("I").convert("L")
    sink = io.BytesIO()
    picture.save(sink, kind, **({"lossless": True} if kind == "WEBP" else {}))
    stored = Image.open(io.BytesIO(sink.getvalue()))
    if stored.mode == "I;16":  # whose upper bits count: Pillow makes everything above 255 white
        stored = Image.fromarray((np.asarray(stored) // 256).astype(np.uint8))
    assert np.array_equal(decode(sink.getvalue()), np.asarray(stored.convert("RGB")))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_decode_is_near_the_exact_one(factor: int) -> None:
    picture = smooth(64 * factor + 3, 80 * factor - 5, grain=8 * factor)
    data = jpeg(picture)
    small, whole = decode(data, factor), decode(data)
    assert small.shape[:2] == (-(-picture.height // factor), -(-picture.width // factor))
    out = np.empty((2, 3, 48, 48), np.uint8)
    cut(whole, (0, 0, picture.width, picture.height), 48, out[0])
    cut(small, (0, 0, picture.width / factor, picture.height / factor), 48, out[1])
    assert np.abs(out[0].astype(int) - out[1]).mean() < 1


def test_what_is_no_picture_is_said_so() -> None:
    data = jpeg(smooth(60, 60))
    for broken in (b"", b"\xff\xd8", b"text", data[:200], data[: len(data) // 2], b"\0" * 5000):
        with pytest.raises(BrokenPictureError):
            decode(broken)
    assert plain_jpeg_size(data[:-100]) is None
    assert plain_jpeg_size(b"\xff\xd8" + b"\xff" * 100 + b"\xff\xd9") is None
