"""Photographs and drawings of ../shared with the changes that copies on the web have gone through, for near_pictures."""

import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from pipeline.demo.scenes import COLOURS, render, scene_list

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
Change = Callable[[Image.Image], Image.Image]


def _cropped(share: float) -> Change:
    def crop(picture: Image.Image) -> Image.Image:
        x, y = round(picture.width * share / 2), round(picture.height * share / 2)
        return picture.crop((x, y, picture.width - x, picture.height - y))

    return crop


def _resized(across: float, down: float) -> Change:
    return lambda picture: picture.resize((max(1, round(picture.width * across)), max(1, round(picture.height * down))))


def _turned(degrees: float) -> Change:
    return lambda picture: picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")


def _overlaid(picture: Image.Image) -> Image.Image:
    """A black bar with a line of text over the lowest tenth."""
    changed = picture.copy()
    draw = ImageDraw.Draw(changed)
    top = round(picture.height * 0.9)
    draw.rectangle((0, top, picture.width, picture.height), fill="black")
    draw.text((5, top + 3), "www.example.com", fill="white")
    return changed


def _written_on(picture: Image.Image) -> Image.Image:
    """A line of red words, an eighth of the height, across the lower part."""
    changed = picture.copy()
    font = ImageFont.load_default(size=max(6, picture.height // 8))
    place = picture.width * 0.05, picture.height * 0.8
    ImageDraw.Draw(changed).text(place, "SAMPLE TEXT", fill=(220, 30, 30), font=font)
    return changed


def _with_logo(picture: Image.Image) -> Image.Image:
    """A blue disc on a white square in the upper right corner, a sixth of the shorter side."""
    changed = picture.copy()
    side = max(4, min(picture.size) // 6)
    box = (picture.width - side, 0, picture.width - 1, side - 1)
    ImageDraw.Draw(changed).rectangle(box, fill=(250, 250, 250))
    ImageDraw.Draw(changed).ellipse(box, fill=(20, 60, 200))
    return changed


def _curved(exponent: float) -> Change:
    curve = [round(255 * (level / 255) ** exponent) for level in range(256)] * 3
    return lambda picture: picture.point(curve)


CHANGES: Mapping[str, Change] = {
    "recompressed, quality 50": lambda picture: picture,
    "half the size": _resized(0.5, 0.5),
    "a quarter of the size": _resized(0.25, 0.25),
    "cropped by 2 %": _cropped(0.02),
    "cropped by 5 %": _cropped(0.05),
    "cropped by 10 %": _cropped(0.1),
    "narrower by 10 %": _resized(0.9, 1),
    "flatter by 20 %": _resized(1, 0.8),
    "rotated by 2 degrees": _turned(2),
    "rotated by 5 degrees": _turned(5),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "brighter by 20 %": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "darker by 20 %": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "contrast 30 % more": lambda picture: ImageEnhance.Contrast(picture).enhance(1.3),
    "contrast 30 % less": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "gamma 0.7": _curved(0.7),
    "colours 30 % paler": lambda picture: ImageEnhance.Color(picture).enhance(0.7),
    "bar with text": _overlaid,
    "words across": _written_on,
    "logo in a corner": _with_logo,
}
"""What a copy may have gone through; each variant is also stored as JPEG of quality 50."""


def _other_hue(degrees: int) -> Change:
    def turn(picture: Image.Image) -> Image.Image:
        hue, strength, value = picture.convert("HSV").split()
        turned = hue.point([(level + round(degrees * 256 / 360)) % 256 for level in range(256)])
        return Image.merge("HSV", (turned, strength, value)).convert("RGB")

    return turn


RECOLOURED: Mapping[str, Change] = {
    "hues turned by 60 degrees": _other_hue(60),
    "hues turned by 120 degrees": _other_hue(120),
    "hues turned by 180 degrees": _other_hue(180),
    "red and blue exchanged": lambda picture: Image.merge("RGB", picture.split()[::-1]),
}
"""The same thing in another colour: another product, another flag, and no copy."""


def everything() -> list[list[Path]]:
    """All photographs of clothing-dataset-small, all figures of OpenStax; none where ../shared is not there."""
    figures = (SHARED / "openstax").glob("*/media384/*")
    return [
        sorted((SHARED / "clothing-dataset-small").rglob("*.jpg")),
        sorted(path for path in figures if path.suffix in (".jpg", ".png")),
    ]


def originals(count: int) -> list[Path]:
    """Pictures spread evenly over both collections."""
    found: list[Path] = []
    for paths in everything():
        wanted = min(len(paths), count // 2)
        found += [paths[place * len(paths) // wanted] for place in range(wanted)]
    return found


def coloured(picture: Image.Image) -> bool:
    """Whether there are colours to turn: a mean difference of 20 levels between the strongest and the weakest channel."""
    small = picture.resize((32, 32)).convert("HSV")
    _, strength, value = (channel.tobytes() for channel in small.split())
    return sum(s * v / 255 for s, v in zip(strength, value, strict=True)) / len(value) >= 20


def write_variants(paths: Iterable[Path], changes: Mapping[str, Change], folder: Path) -> dict[str, tuple[int, str]]:
    """File name -> (number of its original, change) for every original ("") and variant written to `folder`."""
    written = {}
    for number, path in enumerate(paths):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        if changes is RECOLOURED and not coloured(picture):
            continue
        for place, (change, apply) in enumerate({"": lambda same: same, **changes}.items()):
            written[_write(folder, number, place, apply(picture), 50 if change else 95)] = (number, change)
    return written


def write_scenes(count: int, folder: Path) -> dict[str, tuple[int, str]]:
    """The same of drawn scenes of the demo web, each in all its colours."""
    written = {}
    for number, scene in enumerate(scene_list("train", count, seed=9)):
        for place, colour in enumerate(COLOURS):
            drawn = render(dataclasses.replace(scene, colour=colour), side=256)
            written[_write(folder, number, place, drawn, 95)] = (number, colour)
    return written


def _write(folder: Path, number: int, place: int, picture: Image.Image, quality: int) -> str:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality)
    name = f"{number:05d}-{place:02d}.jpg"
    (folder / name).write_bytes(sink.getvalue())
    return name
