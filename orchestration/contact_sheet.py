"""Contact sheets: many small pictures with their captions on one page, drawn with PIL alone.

Bytes and captions come from strangers. A picture that cannot be drawn becomes a grey tile that says so, and a caption is
drawn as far as the font knows it; neither ever raises.
"""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from orchestration.visible import visible

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 64_000_000
PAPER, INK, MUTED, TILE, RULE = "#fdfcf9", "#1d2530", "#66707d", "#eeebe3", "#dedbd2"


def open_picture(data: bytes, side: int) -> Image.Image | None:
    """The picture as RGB, upright, fitted into side x side pixels (never enlarged), or None where it cannot be drawn."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(picture)
            if upright.mode in ("RGBA", "LA", "PA", "P"):
                upright = upright.convert("RGBA")
                ground = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(ground, upright)
            small = upright.convert("RGB")
            small.thumbnail((side, side))
            return small
    # PIL raises nearly anything for broken bytes; whatever it is, the tile says that the picture cannot be shown.
    except Exception:
        return None


def thumbnail(data: bytes | None, side: int = 160, quality: int = 82) -> bytes | None:
    """A JPEG of at most side x side pixels without metadata, or None where `data` is no picture that can be drawn."""
    picture = open_picture(data, side) if data else None
    return None if picture is None else _encoded(picture, "JPEG", quality)


def contact_sheet(
    items: Sequence[tuple[bytes | None, str]],
    columns: int = 8,
    cell: int = 128,
    title: str = "",
    form: str = "PNG",
) -> bytes:
    """One picture with a tile of `cell` pixels and two lines of caption per item, `columns` in a row.

    `form` is "PNG" or "JPEG". No items give a sheet that says so.
    """
    columns = max(1, min(columns, len(items) or 4))
    size = max(9, cell // 12)
    font, line, gap = ImageFont.load_default(size), round(size * 1.35), max(6, cell // 12)
    head = 2 * line + gap if title else gap
    tall = cell + 2 * line + gap
    rows = max(1, -(-len(items) // columns))
    sheet = Image.new("RGB", (gap + columns * (cell + gap), head + rows * (tall + gap // 2)), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _write(draw, (gap, gap), visible(title, 200), ImageFont.load_default(size * 1.3), sheet.width - 2 * gap, 1, INK)
    if not items:
        draw.text((gap, head), "no pictures", fill=MUTED, font=font)
    for index, (data, caption) in enumerate(items):
        left, top = gap + index % columns * (cell + gap), head + index // columns * (tall + gap // 2)
        picture = open_picture(data, cell) if data else None
        draw.rectangle((left, top, left + cell - 1, top + cell - 1), fill=TILE, outline=RULE)
        if picture is not None:
            sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        else:
            draw.line((left, top + cell - 1, left + cell - 1, top), fill=RULE)
            words = "no picture" if not data else "not drawable"
            draw.text((left + cell / 2, top + cell / 2), words, fill=MUTED, font=font, anchor="mm")
        _write(draw, (left, top + cell + 3), visible(caption, 120), font, cell, 2, INK)
    return _encoded(sheet, form, 88)


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    width: float,
    lines: int,
    fill: str,
) -> None:
    """`text` from `at`, broken into at most `lines` lines of `width` pixels; the last one is cut with dots."""
    left, top = at
    rest = text
    for number in range(lines):
        count = len(rest)
        while count > 1 and _length(draw, rest[:count], font) > width:
            count -= 1 + (count > 60)
        line, rest = rest[:count], rest[count:]
        if rest and number == lines - 1:
            line = line[:-2] + "..."
        elif rest and " " in line:
            line, held = line.rsplit(" ", 1)
            rest = held + rest
        try:
            draw.text((left, top), line, fill=fill, font=font)
        except (ValueError, OSError, UnicodeError):  # a script that FreeType cannot lay out
            draw.text((left, top), line.encode("ascii", "replace").decode(), fill=fill, font=font)
        top += draw.textbbox((0, 0), "Ag", font=font)[3] * 1.25
        if not rest:
            break


def _length(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> float:
    try:
        return float(draw.textlength(text, font=font))
    except (ValueError, OSError, UnicodeError):
        return float(draw.textlength("m" * len(text), font=font))


def _encoded(picture: Image.Image, form: str, quality: int) -> bytes:
    sink = io.BytesIO()
    if form == "JPEG":
        picture.save(sink, "JPEG", quality=quality, optimize=True)
    else:
        picture.save(sink, form, optimize=True)
    return sink.getvalue()
