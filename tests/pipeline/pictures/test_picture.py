"""Odd pictures come out right, broken ones fall with a reason, whatever the bytes."""

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter, features

from pipeline.execution.sandbox import shared as shared_sandbox
from pipeline.pictures.picture import process
from pipeline.pictures.picture_config import IMAGE_COLUMNS, PictureConfig
from pipeline.pictures.picture_row import picture_row

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
        (b"PNG is not a picture", "not_an_image"),
    ],
)
def test_what_cannot_be_used_falls_with_its_reason(payload: bytes, reason: str) -> None:
    facts, picture = run(payload, minimum_side_pixels=24)
    assert (facts.get("reason"), picture) == (reason, None)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def raw_png(width: int, height: int, bits: int, kind: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG written by hand, for what Pillow does not write."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    )


def test_sixteen_bit_colour_keeps_its_colours_and_is_not_stored_as_it_came() -> None:
    left, right = (struct.pack(">HHH", *(level * 257 for level in colour)) for colour in (RED, BLUE))
    payload = raw_png(60, 40, 16, 2, (b"\0" + left * 30 + right * 30) * 40)
    facts, picture = run(payload, format="png", encode_quality=6)
    assert facts["repairs"] == ["sixteen_bit"]
    assert picture is not None
    assert corner_colours(picture) == (RED, BLUE)


def test_sixteen_bit_grey_with_a_transparent_level_is_white_there() -> None:
    row = b"\0" + struct.pack(">H", 1000) * 30 + struct.pack(">H", 20000) * 30
    payload = raw_png(60, 40, 16, 0, row * 40, png_chunk(b"tRNS", struct.pack(">H", 1000)))
    facts, picture = run(payload)
    assert facts["repairs"] == ["sixteen_bit"]
    assert picture is not None
    assert near(corner_colours(picture)[0], (255, 255, 255), 4)
    assert near(corner_colours(picture)[1], (78, 78, 78), 4)


@pytest.mark.parametrize("mode", ["palette", "palette_with_alpha", "grey_with_alpha", "one_bit", "grey"])
def test_modes_of_png(mode: str) -> None:
    picture = two_halves()
    layer = picture.convert("RGBA")
    layer.putalpha(Image.new("L", layer.size, 255))
    layer.paste((0, 0, 0, 0), (30, 0, 60, 40))  # the right half is transparent
    made, repairs, left, right = {
        "palette": (picture.convert("P", palette=Image.Palette.ADAPTIVE), [], RED, BLUE),
        "palette_with_alpha": (layer.quantize(8), ["alpha"], RED, (255,) * 3),
        "grey_with_alpha": (layer.convert("LA"), ["alpha"], (89,) * 3, (255,) * 3),
        "one_bit": (picture.convert("L").point(lambda level: 255 * (level > 80), "1"), [], (255,) * 3, (0,) * 3),
        "grey": (picture.convert("L"), [], (89,) * 3, (55,) * 3),
    }[mode]
    facts, stored = run(encoded(made, "PNG"))
    assert facts["repairs"] == repairs
    assert stored is not None
    assert stored.mode == ("L" if mode in ("one_bit", "grey") else "RGB")  # grey stays one channel, as with img2dataset
    assert near(corner_colours(stored)[0], left)
    assert near(corner_colours(stored)[1], right)


def stripes_of_another_space() -> tuple[bytes, tuple[int, int, int]]:
    """(profile, the sRGB colour of its (255, 0, 0)): sRGB's curve with the primaries red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    entries = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 136 + 12 * n for n in range(count)}
    red, green = (slice(entries[name], entries[name] + 8) for name in (b"rXYZ", b"gXYZ"))
    profile[red], profile[green] = profile[green], profile[red]
    return bytes(profile), (0, 255, 0)


@pytest.mark.parametrize("width", [60, 2000])
def test_colours_of_another_profile_are_brought_to_srgb(width: int) -> None:
    profile, expected = stripes_of_another_space()
    facts, picture = run(
        encoded(Image.new("RGB", (width, 40), (255, 0, 0)), icc_profile=profile), maximum_aspect_ratio=99
    )
    assert facts["repairs"] == ["colour_profile"]
    assert picture is not None
    assert near(picture.getpixel((3, 2)), expected, 8)


def test_srgb_itself_and_a_broken_profile_leave_the_bytes_alone() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, repairs in ((srgb, []), (b"no profile", ["profile_ignored"]), (srgb[:200], ["profile_ignored"])):
        payload = encoded(two_halves(), icc_profile=profile)
        facts, blobs = process(PictureConfig().picture_header(), payload)
        assert facts["repairs"] == repairs
        assert blobs[0] == payload


def test_a_grey_picture_with_a_colour_profile_of_rgb_stays_as_it_is() -> None:
    profile, _ = stripes_of_another_space()
    facts, picture = run(encoded(two_halves().convert("L"), icc_profile=profile))
    assert facts["repairs"] == ["profile_ignored"]
    assert picture is not None
    assert picture.mode == "L"


def test_large_cmyk_is_decoded_at_reduced_size_in_the_right_colours() -> None:
    facts, picture = run(encoded(two_halves(1600, 1200).convert("CMYK")))
    assert facts["repairs"] == ["cmyk"]
    assert picture is not None
    assert picture.size == (256, 192)
    assert near(corner_colours(picture)[0], RED)


def test_adobes_inverted_ycck_is_not_a_negative(shared: Path) -> None:
    """Against OpenCV's own way from YCCK to colours, which is another code."""
    payload = (shared / "data" / "fuzz-pillow" / "Tests" / "images" / "pil_sample_cmyk.jpg").read_bytes()
    facts, picture = run(payload, format="png", encode_quality=1)
    assert facts["repairs"] == ["cmyk"]
    assert picture is not None
    other = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(np.asarray(picture).astype(int) - other).mean() < 3


@pytest.mark.parametrize(
    ("format", "options"),
    [("WEBP", {"lossless": True}), ("PNG", {}), ("GIF", {})]
    + ([("AVIF", {"quality": 95})] if features.check("avif") else []),
)
def test_of_every_kind_of_animation_the_first_frame_stays(format: str, options: dict[str, Any]) -> None:
    more = [Image.new("RGB", (60, 40), (0, 255, 0))]
    facts, picture = run(encoded(two_halves(), format, save_all=True, append_images=more, **options))
    assert "first_frame" in facts["repairs"]
    assert picture is not None
    assert near(corner_colours(picture)[0], RED, 40)
    assert near(corner_colours(picture)[1], BLUE, 40)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_orientation_is_also_read_from_other_formats(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    facts, picture = run(encoded(two_halves().transpose(Image.Transpose.ROTATE_90), format, exif=exif.tobytes()))
    assert facts["repairs"] == ["exif_rotated"]
    assert picture is not None
    assert picture.size == (60, 40)
    assert near(corner_colours(picture)[0], RED)


def test_exif_that_cannot_be_read_is_none() -> None:
    payload = encoded(two_halves(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")
    facts, _ = run(payload)
    assert facts["repairs"] == []


def test_a_truncated_picture_is_kept_on_request() -> None:
    cut = encoded(two_halves(600, 400))[:-200]
    assert run(cut)[0]["reason"] == "decode_failed"
    facts, picture = run(cut, accept_truncated=True)
    assert facts["repairs"] == ["truncated"]
    assert picture is not None
    assert near(corner_colours(picture)[0], RED)


def test_statistics_tell_blank_and_blurred_pictures() -> None:
    blank, sharp = Image.new("RGB", (300, 300), (240, 240, 240)), Image.effect_noise((300, 300), 60).convert("RGB")
    blurred = sharp.filter(ImageFilter.GaussianBlur(6))
    found = [run(encoded(picture, "PNG"))[0] for picture in (blank, blurred, sharp)]
    assert found[0]["entropy"] == found[0]["sharpness"] == 0.0
    assert found[0]["brightness"] == 240
    assert found[1]["sharpness"] < 20 < 500 < found[2]["sharpness"]
    assert found[2]["entropy"] > 6
    rules = {"minimum_entropy": 1.0, "minimum_sharpness": 100.0}
    fates = [run(encoded(picture, "PNG"), **rules)[0].get("reason") for picture in (blank, blurred, sharp)]
    assert fates == ["image_blank", "image_blurred", None]


def test_a_row_has_every_column_and_a_fallen_picture_its_thumbnail() -> None:
    header = PictureConfig(minimum_entropy=1.0).picture_header()
    kept = picture_row(PictureConfig().picture_header(), encoded(two_halves()))
    assert set(kept) == {*(name for name, _ in IMAGE_COLUMNS), "header_width", "header_height"}
    assert (len(kept["phash256"]), len(kept["thumbnail8"])) == (32, 192)
    fallen = picture_row(header, encoded(Image.new("RGB", (60, 40), (9, 9, 9)), "PNG"))
    assert fallen["reason"] == "image_blank"
    assert Image.open(io.BytesIO(fallen["thumbnail"])).size == (60, 40)


def test_png_takes_a_compression_level() -> None:
    with pytest.raises(ValueError, match="encode_quality 95: png takes a compression level of 0 to 9"):
        PictureConfig(format="png")


def test_hostile_files_fall_or_pass_in_the_sandbox_within_time(shared: Path) -> None:
    """Every file of Pillow's own collection of broken, huge and hostile pictures."""
    files = sorted(path for path in (shared / "data" / "fuzz-pillow").rglob("*") if path.is_file())
    header = PictureConfig(maximum_aspect_ratio=100.0).picture_header()
    verdicts, slowest = [], 0.0
    for path in files:
        started = time.monotonic()
        row = picture_row(header, path.read_bytes())
        slowest = max(slowest, time.monotonic() - started)
        assert ("reason" in row) != ("image" in row), path.name
        verdicts.append(row.get("reason", "kept"))
    assert len(verdicts) > 900
    assert {"not_an_image", "decode_failed", "pixel_limit", "kept"} <= set(verdicts)
    assert verdicts.count("kept") > 400
    assert not {"decoder_crashed", "decoder_hung"} & set(verdicts)
    assert slowest < shared_sandbox("pipeline.pictures.picture:process").timeout_seconds


def test_a_picture_of_a_hundred_thousand_scans_costs_no_time() -> None:
    plain = encoded(two_halves(3000, 2000), progressive=True)
    last = plain.rindex(b"\xff\xda")
    started = time.process_time()
    facts, _ = run(plain[:-2] + plain[last:-2] * 100_000 + b"\xff\xd9")
    assert time.process_time() - started < 5
    assert facts["reason"] == "decode_failed"
    assert "100,010 scans" in facts["evidence"]
    film = np.random.default_rng(0).bytes(5_000_000)  # as some cameras put behind a picture
    assert "reason" not in run(plain + film)[0]
