"""Pictures that are not read fall by name, and the recipe's limit of pixels is the one that holds."""

import pytest
from PIL import Image

from pipeline.pictures.picture_config import PictureConfig
from tests.pipeline.pictures.test_picture import encoded, raw_png, run, two_halves


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (encoded(two_halves(), "TIFF"), "TIFF"),
        (encoded(two_halves(), "TIFF", big_tiff=True), "TIFF"),
        (encoded(two_halves(), "JPEG2000"), "JPEG 2000"),
        (encoded(two_halves(), "JPEG2000", no_jp2=True), "JPEG 2000"),
        (encoded(two_halves(), "PPM"), "PNM"),
        (encoded(two_halves().convert("L"), "PPM"), "PNM"),
        (encoded(two_halves(), "ICO"), "ICO"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1", "HEIF"),
    ],
)
def test_a_picture_of_a_format_that_is_not_read_is_called_by_its_name(payload: bytes, name: str) -> None:
    facts, picture = run(payload)
    assert picture is None
    assert facts == {"reason": "unsupported_format", "evidence": f"{name}; JPEG, PNG, WEBP, GIF, BMP, AVIF are read"}


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
