"""What happens to a picture on its way through the web: the forms an index holds ready, and the changes a test plants.

A perceptual hash outlives recompression and resizing, but not a mirror, a crop or a turn. So an evaluation picture is
indexed with its usual variants: a changed copy then lies near one of them, and cheap exact lookup by hash finds it. The
planted changes are drawn apart from the variants (other windows, angles, fills), or the measured recall would flatter.
The kinds of change are those CLIP trained its duplicate detector on (arXiv:2103.00020, appendix C).
"""

import functools
import io
import itertools
import random
from collections.abc import Callable, Mapping, Sequence

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from pipeline.errors import ConfigError

Picture = Image.Image


def window(picture: Picture, cut: float, across: float, down: float) -> Picture:
    """The part left when `cut` of each side is taken away; 0, 0 keeps the top left, 1, 1 the bottom right."""
    width, height = picture.size
    kept_width, kept_height = max(1, round(width * (1 - cut))), max(1, round(height * (1 - cut)))
    left, top = round((width - kept_width) * across), round((height - kept_height) * down)
    return picture.crop((left, top, left + kept_width, top + kept_height))


def turned(picture: Picture, degrees: float, fill: int) -> Picture:
    """Turned in its frame; the corners that open are filled with grey `fill`."""
    return picture.convert("RGB").rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(fill, fill, fill))


def straightened(picture: Picture, degrees: float) -> Picture:
    """Turned, then cut to the largest centred window of the same shape that has no open corner."""
    angle = abs(degrees) * 3.141592653589793 / 180
    width, height = picture.size
    # The tighter of the two conditions of a rectangle of the same aspect inside the turned one; sin(x) ~ x - x^3 / 6.
    sine, cosine = angle - angle**3 / 6, 1 - angle**2 / 2
    scale = 1 / (cosine + sine * max(width / height, height / width))
    return window(turned(picture, degrees, 128), 1 - scale, 0.5, 0.5)


def bordered(picture: Picture, share: float, fill: int) -> Picture:
    """With a frame that is `share` of the shorter side wide."""
    return ImageOps.expand(picture.convert("RGB"), max(1, round(min(picture.size) * share)), (fill, fill, fill))


def _windows() -> Mapping[str, Callable[[Picture], Picture]]:
    """Windows of four sizes, each in a square grid of places: the larger the cut, the more places a crop can come from."""
    grids = {5: (0.0, 1.0), 10: (0.0, 0.5, 1.0), 15: (0.0, 0.5, 1.0), 20: (0.0, 1 / 3, 2 / 3, 1.0)}
    made = {
        f"crop{cut}_{x}{y}": functools.partial(window, cut=cut / 100, across=across, down=down)
        for cut, places in grids.items()
        for x, across in enumerate(places)
        for y, down in enumerate(places)
    }
    return {**made, "crop5_centre": functools.partial(window, cut=0.05, across=0.5, down=0.5)}


def _same(picture: Picture) -> Picture:
    return picture


VARIANTS: Mapping[str, Callable[[Picture], Picture]] = {
    "same": _same,
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "flip": ImageOps.mirror,
    "rotate90": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "rotate180": lambda picture: picture.transpose(Image.Transpose.ROTATE_180),
    "rotate270": lambda picture: picture.transpose(Image.Transpose.ROTATE_270),
    **_windows(),
    **{f"turn{degrees:+d}": functools.partial(turned, degrees=degrees, fill=128) for degrees in (-9, -6, -3, 3, 6, 9)},
    **{f"straight{degrees:+d}": functools.partial(straightened, degrees=degrees) for degrees in (-9, -5, 5, 9)},
    "border10_white": functools.partial(bordered, share=0.1, fill=255),
    "border10_black": functools.partial(bordered, share=0.1, fill=0),
}
"""Name -> the form of an evaluation picture that is indexed beside it."""


def chosen_variants(names: Sequence[str], key: str = "variants") -> tuple[str, ...]:
    """`all`, families ("crop", "turn") and single names ("crop10_00") as names of VARIANTS; `same` is always among them.

    Raises ConfigError for a name that is none of these.
    """
    wanted = {"same"}
    for name in names:
        found = {each for each in VARIANTS if name in ("all", each, _family(each))}
        if not found:
            families = ", ".join(dict.fromkeys(map(_family, VARIANTS)))
            raise ConfigError(f"curate.decontaminate.{key}: {name!r} is unknown; take all, or some of {families}")
        wanted |= found
    return tuple(name for name in VARIANTS if name in wanted)


def _family(name: str) -> str:
    """ "crop" of "crop10_00"."""
    return "".join(itertools.takewhile(str.isalpha, name))


def recompressed(picture: Picture, quality: int) -> Picture:
    sink = io.BytesIO()
    picture.convert("RGB").save(sink, "JPEG", quality=quality)
    with Image.open(sink) as stored:
        return stored.convert("RGB")


def _resized(picture: Picture, draw: random.Random, across: float, down: float) -> Picture:
    size = max(1, round(picture.width * across)), max(1, round(picture.height * down))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _cropped(picture: Picture, draw: random.Random, cut: float) -> Picture:
    return window(picture, cut, draw.random(), draw.random())


def _rotated(picture: Picture, draw: random.Random, degrees: float) -> Picture:
    signed = degrees * draw.choice((-1, 1))
    fill = draw.choice((0, 255, None))
    return straightened(picture, signed) if fill is None else turned(picture, signed, fill)


def _text(picture: Picture, draw: random.Random) -> Picture:
    """A line of words across, an eighth of the height, somewhere in the lower or upper third."""
    changed = picture.convert("RGB")
    pen = ImageDraw.Draw(changed)
    font = ImageFont.load_default(size=max(6, picture.height // 8))
    down = draw.choice((0.04, 0.82)) * picture.height
    ink = draw.choice(((255, 255, 255), (0, 0, 0), (220, 30, 30)))
    pen.text((picture.width * 0.05, down), "SAMPLE TEXT", fill=ink, font=font)
    return changed


def _logo(picture: Picture, draw: random.Random) -> Picture:
    """A disc on a square in one corner, a fifth of the shorter side."""
    changed = picture.convert("RGB")
    pen = ImageDraw.Draw(changed)
    side = max(4, min(picture.size) // 5)
    left = draw.choice((0, picture.width - side))
    top = draw.choice((0, picture.height - side))
    pen.rectangle((left, top, left + side - 1, top + side - 1), fill=(250, 250, 250))
    pen.ellipse((left, top, left + side - 1, top + side - 1), fill=draw.choice(((200, 20, 40), (20, 60, 200))))
    return changed


def _brightness(picture: Picture, draw: random.Random) -> Picture:
    return ImageEnhance.Brightness(picture.convert("RGB")).enhance(draw.choice((0.7, 1.3)))


def _contrast(picture: Picture, draw: random.Random) -> Picture:
    return ImageEnhance.Contrast(picture.convert("RGB")).enhance(draw.choice((0.7, 1.3)))


CHANGES: Mapping[str, Callable[[Picture, random.Random], Picture]] = {
    "recompress_q50": lambda picture, draw: recompressed(picture, 50),
    "recompress_q30": lambda picture, draw: recompressed(picture, 30),
    "resize_half": functools.partial(_resized, across=0.5, down=0.5),
    "crop_5": functools.partial(_cropped, cut=0.05),
    "crop_10": functools.partial(_cropped, cut=0.10),
    "crop_20": functools.partial(_cropped, cut=0.20),
    "aspect_10": lambda picture, draw: _resized(picture, draw, *draw.choice(((0.9, 1.0), (1.0, 0.9)))),
    "aspect_20": lambda picture, draw: _resized(picture, draw, *draw.choice(((0.8, 1.0), (1.0, 0.8)))),
    "rotate_2": functools.partial(_rotated, degrees=2),
    "rotate_5": functools.partial(_rotated, degrees=5),
    "rotate_10": functools.partial(_rotated, degrees=10),
    "grey": lambda picture, draw: picture.convert("L").convert("RGB"),
    "overlay_text": _text,
    "overlay_logo": _logo,
    "brightness": _brightness,
    "contrast": _contrast,
    "flip": lambda picture, draw: ImageOps.mirror(picture),
}
"""Name -> a change to plant; every planted copy is also saved as JPEG of quality 85, as the web would."""


DECOY = "transposed"
"""Mirrored at the diagonal a picture looks like one of the set and is no copy that anybody makes: what is near is so by chance."""


def plant(picture: Picture, change: str, seed: str) -> Picture:
    """A copy of the picture under `change` (or as DECOY), what is free about it drawn by `seed`."""
    if change == DECOY:
        return recompressed(picture.convert("RGB").transpose(Image.Transpose.TRANSPOSE), 85)
    return recompressed(CHANGES[change](picture, random.Random(f"{seed}/{change}")), 85)
