"""Contact sheets: one picture of many, which no caption and no broken bytes can stop."""

import io

import pytest
from PIL import Image

from orchestration.contact_sheet import contact_sheet, open_picture, thumbnail
from orchestration.visible import visible

NAUGHTY = (
    "",
    " \t\n\r ",
    "\x00\x1b[2J\x1b[31m",
    "\ud800 half a pair",
    "\u202e\u2066 reversed",
    "👩‍👩‍👧 🏳️‍🌈 ﷽ " * 5,
    "Ṱ̺̺̕o͞ ̷i̲̬͇̪͙n̝̗͕v̟̜̘̦͟o̶̙̰̠kè͚̮̺̪̹̱̤",
    "數字三 صورة ภาพ 그림",
    "x" * 100_000,
    "word " * 20_000,
    "%s%n {0} ${jndi:ldap://a}",
    "\ufeff\ufffe\U0010ffff",
)


def encoded(colour: str = "red", size: tuple[int, int] = (80, 60), form: str = "JPEG", mode: str = "RGB") -> bytes:
    sink = io.BytesIO()
    Image.new(mode, size, colour).save(sink, form)
    return sink.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def test_each_item_has_its_tile_in_reading_order() -> None:
    colours = ("red", "green", "blue", "white")
    sheet = opened(contact_sheet([(encoded(colour, form="PNG"), colour) for colour in colours], columns=2, cell=100))
    gap, step_down = 8, (sheet.height - 8) // 2
    centres = [(gap + 50 + x * (100 + gap), gap + 50 + y * step_down) for y in range(2) for x in range(2)]
    assert [sheet.getpixel(at) for at in centres] == [(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)]


@pytest.mark.parametrize("caption", NAUGHTY, ids=range(len(NAUGHTY)))
def test_no_caption_stops_it(caption: str) -> None:
    assert opened(contact_sheet([(encoded(), caption), (None, caption)], title=caption)).width > 100


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"\xff\xd8\xff",
        encoded()[:300],
        b"<html>",
        b"%!PS\n(x) show",
        b"P6 99999 99999 255 ",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 64,
    ],
    ids=["none", "empty", "jpeg head", "truncated", "html", "postscript", "ppm", "png head"],
)
def test_what_is_no_picture_becomes_a_grey_tile(data: bytes | None) -> None:
    assert opened(contact_sheet([(data, "caption")])).size == opened(contact_sheet([(encoded(), "caption")])).size
    assert thumbnail(data) is None


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    bomb = encoded("white", (12_000, 6_000), "PNG", "1")
    assert open_picture(bomb, 64) is None


def test_thumbnails_are_small_upright_rgb_jpegs_without_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010E] = "where I live"
    sink = io.BytesIO()
    Image.new("RGB", (400, 200), "red").save(sink, "JPEG", exif=exif)
    small = opened(thumbnail(sink.getvalue(), 100) or b"")
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (50, 100))
    assert not small.getexif()
    for mode in ("CMYK", "L"):
        assert opened(thumbnail(encoded("black", mode=mode)) or b"").mode == "RGB"
    for mode in ("RGBA", "P", "LA", "1", "I;16"):
        assert opened(thumbnail(encoded("black" if mode != "I;16" else 0, form="PNG", mode=mode)) or b"").mode == "RGB"  # type: ignore[arg-type]


def test_a_transparent_picture_stands_on_white() -> None:
    sink = io.BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(sink, "PNG")
    assert opened(thumbnail(sink.getvalue()) or b"").getpixel((20, 20)) == (255, 255, 255)


def test_the_same_items_give_the_same_bytes_as_png_or_jpeg() -> None:
    items = [(encoded(), "one"), (None, "two")]
    assert contact_sheet(items) == contact_sheet(items)
    assert opened(contact_sheet(items, form="JPEG")).format == "JPEG"
    assert opened(contact_sheet([])).width > 100


def test_visible_text_is_one_short_line_without_anything_that_acts() -> None:
    assert visible("a\n b\t c\u2028d") == "a b c d"
    assert visible("\x1b[31mred") == "‹U+001B›[31mred"
    assert visible("\u202egnp.exe") == "‹U+202E›gnp.exe"
    assert visible("\ud800") == "‹U+D800›"
    assert visible("x" * 999, 10) == "x" * 9 + "…"
    assert visible("x" * 10, 10) == "x" * 10
    assert visible(None) == ""
    assert visible("می‌خواهم صورة 數字 é") == "می‌خواهم صورة 數字 é"
