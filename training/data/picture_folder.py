"""A folder of pictures as a source: `class/name.jpg` gives labels, `name.txt` beside a picture its caption.

Where pictures lie in folders directly below the given one, these are the classes; deeper folders belong to their uppermost
one. The id is a hash of names, sizes and captions: reading all pictures to know whether one was changed would cost an epoch.
"""

import os
import posixpath
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import DataError
from pipeline.streams import read_ranges
from training.data.config import SourceConfig
from training.data.losses import Lost
from training.data.part import DataFile, Part, text_column

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
PART_ROWS = 256
"""Pictures that stay together in the first level of the shuffle: few, because folders are sorted by class."""
TEXTS_AT_ONCE = 1024


class PictureFolder:
    """Pictures in the order of their names. Raises DataError where there are none."""

    def __init__(self, folder: str, config: SourceConfig) -> None:
        self.name, self.multi_label = folder, False
        self.lost: tuple[Lost, ...] = ()
        found = _listing(folder)
        names = sorted(name for name in found if name.lower().endswith(PICTURES))
        if not names:
            raise DataError(f"{folder}: holds no picture ({', '.join(PICTURES)}), no .tar and no manifest.json")
        self._files = [DataFile(storage.join(folder, name), found[name]) for name in names]
        groups = [name.split("/", 1)[0] if "/" in name else None for name in names]
        self.classes = tuple(sorted({group for group in groups if group is not None}))
        if any(group is None for group in groups):
            self.classes = ()
        self._labels = pa.array(groups, pa.string()) if self.classes else None
        self._captions = self._read_captions(folder, names, found, config)
        self.has_captions = self._captions is not None
        starts = range(0, len(names), PART_ROWS)
        self.part_rows = tuple(min(PART_ROWS, len(names) - start) for start in starts)
        content: list[Any] = [[name, found[name]] for name in names]
        content.append(self._captions.to_pylist() if self._captions is not None else None)
        self.id = storage.sha256(storage.canonical_json(content))

    @staticmethod
    def _read_captions(folder: str, names: list[str], found: dict[str, int], config: SourceConfig) -> pa.Array | None:
        beside = [posixpath.splitext(name)[0] + ".txt" for name in names]
        present = [name for name in beside if name in found]
        if not present:
            return None
        texts: dict[str, str] = {}
        for start in range(0, len(present), TEXTS_AT_ONCE):
            some = present[start : start + TEXTS_AT_ONCE]
            data = read_ranges([storage.join(folder, name) for name in some], [0] * len(some), [found[n] for n in some])
            texts |= {name: text.decode("utf-8", "replace").strip() for name, text in zip(some, data, strict=True)}
        captions: list[Any] = [texts.get(name, "") for name in beside]
        if config.caption_per_line:
            captions = [[line.strip() for line in text.splitlines() if line.strip()] for text in captions]
        return text_column(pa.array(captions, pa.list_(pa.string()) if config.caption_per_line else pa.string()))

    def part(self, number: int) -> Part:
        start = number * PART_ROWS
        files = self._files[start : start + PART_ROWS]
        count = len(files)
        return Part(
            files,
            np.zeros(count, np.int64),
            np.array([file.bytes for file in files], np.int64),
            self._captions.slice(start, count) if self._captions is not None else None,
            self._labels.slice(start, count) if self._labels is not None else None,
            np.arange(count),
        )


def _listing(folder: str) -> dict[str, int]:
    """Size of every file below `folder`, by its name relative to it; hidden ones left out."""
    filesystem, root = storage.filesystem_of(folder)
    root = root.rstrip("/")
    if not filesystem.exists(root):
        raise DataError(f"{folder}: no such folder; give train.data.sources a path that exists")
    if storage.is_local(folder) and filesystem.isdir(root):
        names = dict(_walked(root))
    else:
        files = filesystem.find(root, detail=True)
        names = {str(path)[len(root) + 1 :]: int(info["size"]) for path, info in files.items()}
    return {name: size for name, size in names.items() if not any(part.startswith(".") for part in name.split("/"))}


def _walked(root: str, below: str = "", above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, int]]:
    """Name and size of each file, through symbolic links too (fsspec's `find` passes over linked folders), but for one that
    leads back to a folder it lies in. Raises DataError for a folder that cannot be read."""
    folder = os.path.join(root, below)
    try:
        found = os.stat(folder)
        with os.scandir(folder) as listed:
            entries = [each for each in listed if not each.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror or error}); make it readable or take it out"
        ) from error
    here = (found.st_dev, found.st_ino)
    if here in above:
        return
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir():
            yield from _walked(root, name, (*above, here))
        elif entry.is_file():
            yield name, entry.stat().st_size
