"""Rare formats come out right, others fall by name, and the recipe's limit of pixels is the one that holds."""

import struct
import time

import numpy as np
import pytest
from PIL import Image

from pipeline.pictures.picture_config import PictureConfig
from tests.pipeline.pictures.test_picture import (
    BLUE,
    RED,
    corner_colours,
    encoded,
    near,
    raw_png,
    run,
    stripes_of_another_space,
    two_halves,
)

RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (40, 1))
GREY = two_halves().convert("L")


def layer() -> Image.Image:
    """Red on the left, transparent on the right."""
    made = two_halves().convert("RGBA")
    made.paste((0, 0, 0, 0), (30, 0, 60, 40))
    return made


def pages() -> bytes:
    return encoded(two_halves(), "TIFF", save_all=True, append_images=[Image.new("RGB", (60, 40), (0, 255, 0))])


@pytest.mark.parametrize(
    ("payload", "repairs"),
    [
        (encoded(two_halves(), "TIFF"), []),
        (encoded(two_halves(), "TIFF", big_tiff=True), []),
        (encoded(two_halves(), "TIFF", compression="tiff_lzw"), []),
        (encoded(two_halves(), "TIFF", compression="jpeg", quality=95), []),
        (encoded(two_halves().quantize(8), "TIFF"), []),
        (encoded(two_halves().convert("CMYK"), "TIFF", compression="tiff_lzw"), ["cmyk"]),
        (pages(), ["first_frame"]),
        (encoded(two_halves(), "JPEG2000"), []),
        (encoded(two_halves(), "JPEG2000", no_jp2=True), []),
        (encoded(two_halves(), "PPM"), []),
        (b"P3\n# by hand\n60 40\n255\n" + b"230 30 20 " * 30 + (b"20 40 220 " * 30 + b"230 30 20 " * 30) * 40, []),
        (b"P6\n60 40\n65535\n" + b"".join(struct.pack(">HHH", *(257 * c for c in side)) * 30 for side in (RED, BLUE)) * 40, []),
    ],
)  # fmt: skip
def test_pictures_of_rare_formats_keep_their_colours(payload: bytes, repairs: list[str]) -> None:
    facts, picture = run(payload)
    assert facts["repairs"] == repairs
    assert picture is not None
    assert (picture.size, picture.format, picture.mode) == ((60, 40), "JPEG", "RGB")
    assert near(corner_colours(picture)[0], RED)
    assert near(corner_colours(picture)[1], BLUE)


@pytest.mark.parametrize("format", ["TIFF", "JPEG2000"])
def test_transparency_in_rare_formats_becomes_white(format: str) -> None:
    facts, picture = run(encoded(layer(), format))
    assert facts["repairs"] == ["alpha"]
    assert picture is not None
    assert near(corner_colours(picture)[0], RED)
    assert near(corner_colours(picture)[1], (255, 255, 255))


def tiff_by_hand(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """A grey TIFF of 60 x 40 that Pillow does not write."""
    data = values.tobytes()
    tags = [(256, 60), (257, 40), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 40)]
    tags.append((279, len(data)))
    entries = b"".join(struct.pack("<HHII", name, 4, 1, value) for name, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def twelve_bits() -> bytes:
    """Levels 1,000 on the left and 4,095 on the right, two in three bytes."""
    low, high = (struct.pack(">I", level << 12 | level)[1:] for level in (1000, 4095))
    return tiff_by_hand(np.frombuffer((low * 15 + high * 15) * 40, np.uint8), 12, 1)


@pytest.mark.parametrize(
    ("payload", "left", "right"),
    [
        (encoded(Image.fromarray(RAMP), "TIFF"), 12, 243),
        (encoded(Image.fromarray(RAMP), "JPEG2000"), 12, 243),
        (encoded(Image.fromarray(RAMP), "PPM"), 12, 243),
        (tiff_by_hand(np.repeat([[0, 50_000]], 30, 1).repeat(40, 0).astype("<u2"), 16, 0), 255, 60),
        (twelve_bits(), 62, 255),
        (b"P5\n60 40\n100\n" + (b"\x0a" * 30 + b"\x64" * 30) * 40, 26, 255),
        (b"P5\n60 40\n1000\n" + (struct.pack(">H", 100) * 30 + struct.pack(">H", 999) * 30) * 40, 26, 255),
        (encoded(GREY.point(lambda level: 255 * (level > 80), "1"), "PPM"), 255, 0),
    ],
    ids=["tiff16", "jp2-16", "pgm16", "tiff16-white-is-zero", "tiff12", "pgm-100", "pgm-1000", "pbm"],
)
def test_grey_of_any_depth_is_scaled_by_its_own_white(payload: bytes, left: int, right: int) -> None:
    _, picture = run(payload)
    assert picture is not None
    assert picture.mode == "L"
    assert near(corner_colours(picture)[0], (left,) * 3, 4)
    assert near(corner_colours(picture)[1], (right,) * 3, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_stored_lying_down_is_set_up(orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = two_halves() if orientation == 1 else two_halves().transpose(Image.Transpose(undo[orientation]))
    facts, picture = run(encoded(stored, "TIFF", tiffinfo={274: orientation}))
    assert picture is not None
    assert (facts["original_width"], facts["original_height"]) == picture.size == (60, 40)
    assert near(corner_colours(picture)[0], RED)
    assert near(corner_colours(picture)[1], BLUE)


def test_a_tiffs_colour_profile_and_its_cielab_are_brought_to_srgb() -> None:
    profile, expected = stripes_of_another_space()
    facts, picture = run(encoded(Image.new("RGB", (60, 40), (255, 0, 0)), "TIFF", icc_profile=profile))
    assert facts["repairs"] == ["colour_profile"]
    assert picture is not None
    assert near(corner_colours(picture)[0], expected, 8)
    _, picture = run(encoded(Image.new("LAB", (60, 40), (138, 209, 198)), "TIFF"))
    assert picture is not None
    assert near(corner_colours(picture)[0], (255, 0, 0), 8)  # red is L 54.3, a 80.8, b 69.9 under D50


@pytest.mark.parametrize(
    ("payload", "evidence"),
    [
        (encoded(two_halves(), "ICO"), "ICO; JPEG, PNG, WEBP, GIF, BMP, AVIF, TIFF, JPEG 2000, PNM are read"),
        (
            b"\0\0\0\x1cftypheic\0\0\0\0mif1",
            "HEIF; JPEG, PNG, WEBP, GIF, BMP, AVIF, TIFF, JPEG 2000, PNM are read",
        ),
        (b"P7\nWIDTH 1\n", "PAM; JPEG, PNG, WEBP, GIF, BMP, AVIF, TIFF, JPEG 2000, PNM are read"),
        (encoded(GREY.convert("F"), "TIFF"), "TIFF with samples that are fractions"),
        (encoded(GREY.convert("I"), "TIFF"), "TIFF with samples of 32 bits or with a sign"),
    ],
)
def test_a_picture_of_a_format_that_is_not_read_is_called_by_its_name(payload: bytes, evidence: str) -> None:
    facts, picture = run(payload)
    assert picture is None
    assert (facts["reason"], facts["evidence"]) == ("unsupported_format", evidence)


def with_size(code_stream: bytes, width: int, height: int) -> bytes:
    """A JPEG 2000 whose marker SIZ names another size, in one tile."""
    at = code_stream.index(b"\xff\x51") + 6
    return code_stream[:at] + struct.pack(">8I", width, height, 0, 0, width, height, 0, 0) + code_stream[at + 32 :]


def many_pages(count: int) -> bytes:
    made = b"II*\0" + struct.pack("<I", 8)
    for page in range(count):
        tags = [(256, 8), (257, 8), (258, 8), (262, 1), (273, 8), (279, 64)]
        made += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", name, 3, 1, n) for name, n in tags)
        made += struct.pack("<I", len(made) + 4 if page < count - 1 else 0)
    return made


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (encoded(Image.new("1", (9000, 9000)), "TIFF", compression="group4"), "pixel_limit"),
        (b"P4\n9000 9000\n", "pixel_limit"),
        (b"P4\n200000 200000\n", "pixel_limit"),
        (with_size(encoded(two_halves(), "JPEG2000", no_jp2=True), 60_000, 60_000), "pixel_limit"),
        (with_size(encoded(two_halves(), "JPEG2000"), 60_000, 60_000), "decode_failed"),  # its other header says 60 x 40
        (encoded(two_halves(), "JPEG2000")[:-60], "decode_failed"),
        (encoded(two_halves(), "TIFF", compression="tiff_lzw")[:-60], "not_an_image"),
        (encoded(two_halves(), "PPM")[:-60], "decode_failed"),
        (b"P5\n600 600\n1000\n" + bytes(1000), "decode_failed"),
        (b"II*\0", "not_an_image"),
        (b"P6 ", "not_an_image"),
        (many_pages(20_000), None),
    ],
)  # fmt: skip
def test_bombs_and_stumps_of_rare_formats_cost_nothing(payload: bytes, reason: str | None) -> None:
    started = time.process_time()
    assert run(payload)[0].get("reason") == reason
    assert time.process_time() - started < 2


def test_a_photograph_of_sixteen_bits_in_a_pnm_costs_no_time() -> None:
    started = time.process_time()
    facts, _ = run(b"P6\n2000 2000\n65535\n" + bytes(2000 * 2000 * 6))
    assert (facts["brightness"], facts["original_width"]) == (0.0, 2000)
    assert time.process_time() - started < 2  # Pillow's own loop: 8


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_recipes_limit_of_pixels_holds_above_pillows_own() -> None:
    pillows = Image.MAX_IMAGE_PIXELS
    huge = header_of_png(20_000, 20_000)  # without pixels: whoever begins to decode it says decode_failed
    assert run(huge)[0] == {"reason": "pixel_limit", "evidence": "more than 64,000,000 pixels"}
    assert run(huge, maximum_pixels=399_999_999)[0] == {
        "reason": "pixel_limit",
        "evidence": "20000 x 20000",
        "header_width": 20000,
        "header_height": 20000,
    }
    assert run(huge, maximum_pixels=400_000_000)[0]["reason"] == "decode_failed"
    assert pillows == Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match="less than or equal to 1073741824"):
        PictureConfig(maximum_pixels=2**31)


def header_of_png(width: int, height: int) -> bytes:
    return raw_png(width, height, 1, 0, b"")
