"""Photographs and drawings of ../shared with the changes that copies on the web have gone through, for near_duplicates."""

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    def crop(picture: Image.Image) -> Image.Image:
        x, y = round(picture.width * share / 2), round(picture.height * share / 2)
        return picture.crop((x, y, picture.width - x, picture.height - y))

    return crop


def _overlaid(picture: Image.Image) -> Image.Image:
    """A black bar with a line of text over the lowest tenth."""
    changed = picture.copy()
    draw = ImageDraw.Draw(changed)
    top = round(picture.height * 0.9)
    draw.rectangle((0, top, picture.width, picture.height), fill="black")
    draw.text((5, top + 3), "www.example.com", fill="white")
    return changed


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed, quality 50": lambda picture: picture,
    "half the size": lambda picture: picture.resize((max(1, picture.width // 2), max(1, picture.height // 2))),
    "cropped by 2 %": _cropped(0.02),
    "cropped by 5 %": _cropped(0.05),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "rotated by 2 degrees": lambda picture: picture.rotate(2, Image.Resampling.BICUBIC, fillcolor="white"),
    "bar with text": _overlaid,
    "brighter by 20 %": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
}


def originals(count: int) -> list[Path]:
    """Pictures spread evenly over both collections; none where ../shared is not there."""
    photos = sorted((SHARED / "clothing-dataset-small").rglob("*.jpg"))
    figures = sorted(path for path in (SHARED / "openstax").glob("*/media384/*") if path.suffix in (".jpg", ".png"))
    found: list[Path] = []
    for paths in (photos, figures):
        wanted = min(len(paths), count // 2)
        found += [paths[place * len(paths) // wanted] for place in range(wanted)]
    return found


def write_variants(paths: list[Path], folder: Path) -> dict[str, tuple[int, str]]:
    """File name -> (number of its original, change) for every original ("") and variant written to `folder`."""
    written = {}
    for number, path in enumerate(paths):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        for place, (change, apply) in enumerate({"": lambda same: same, **CHANGES}.items()):
            sink = io.BytesIO()
            apply(picture).save(sink, "JPEG", quality=50 if change else 95)
            name = f"{number:05d}-{place}.jpg"
            (folder / name).write_bytes(sink.getvalue())
            written[name] = (number, change)
    return written
