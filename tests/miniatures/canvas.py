"""What all miniatures are made of: pictures told apart by their colour, and the account of what was written."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image


def colour(number: int) -> tuple[int, int, int]:
    """Far enough apart for JPEG, and no grey."""
    return (40 + number * 53 % 200, 40 + number * 97 % 200, 40 + number * 151 % 200)


def picture(number: int, side: int = 12) -> Image.Image:
    return Image.new("RGB", (side, side), colour(number))


def encoded(number: int, kind: str = "JPEG", side: int = 12) -> bytes:
    stored = io.BytesIO()
    options: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
    picture(number, side).save(stored, kind, **options.get(kind, {}))
    return stored.getvalue()


@dataclass
class Made:
    """The reader's name, and by split what it must give, in its order: (label, number of the picture)."""

    layout: str
    splits: dict[str, list[tuple[Any, int]]]
    column: str = "label"
    classes: tuple[str, ...] | None = None
    grey: bool = False
    columns: dict[str, dict[str, Sequence[Any]]] = field(default_factory=dict)
    """split -> further columns."""


class Writer:
    """Writes pictures with running numbers below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = -1

    def write(self, name: str, side: int = 12) -> int:
        """A picture; its format by its name. Gives its number."""
        self.number += 1
        suffix = name.rpartition(".")[2].lower()
        kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
        self.put(name, encoded(self.number, kind, side))
        return self.number

    def put(self, name: str, content: bytes | str | Any) -> None:
        """A file: bytes, text, or a value as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))


def turns(*words: str, each: int = 2) -> Iterator[str]:
    """Every word `each` times."""
    return (word for word in words for _ in range(each))
