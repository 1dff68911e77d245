"""Bytes or arrays as pictures, and lists of them as `Pictures`. The one place here that calls the decoder.

Pictures are decoded by what their bytes are, whatever their names say (Oxford Pets has GIF files that are called .jpg).
Orientation tags are left alone, as the peers leave them.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.pictures.folder import Folder
from evaluation.pictures.lazy import Lazy
from evaluation.pictures.pictures import Broken, Pictures, identity_of, readable

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""What benchmarks are stored in. Others (EPS starts a program) are refused however a file is called."""


def decoded(data: bytes, where: str) -> Image.Image:
    """The picture, with its pixels. Raises Broken, naming `where`."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        picture.load()
    except Exception as error:  # hostile bytes make the decoder raise anything
        reason = str(error).split("<")[0].strip() or type(error).__name__
        raise Broken(f"{where}: cannot be decoded ({reason}); get this file anew") from error
    return picture


def of_files(
    name: str,
    folder: Folder,
    names: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
    crop_pixels: int = 0,
    lacking: Mapping[str, int] | None = None,
) -> Pictures:
    """Pictures that are a file each; the column `id` has their names. Their identity: names and sizes in order, and the
    border that is cut away. `lacking`: what the dataset lists and is not there, by reason."""
    _check_columns(name, len(names), columns)

    def stored(index: int) -> bytes:
        return folder.read(names[index])

    def read(index: int) -> Image.Image:
        picture = decoded(stored(index), folder.at(names[index]))
        if not crop_pixels:
            return picture
        width, height = picture.size
        return picture.crop((crop_pixels, crop_pixels, width - crop_pixels, height - crop_pixels))

    identity = identity_of("files", folder.listing(names), crop_pixels)
    ids: dict[str, Sequence[Any]] = {"id": tuple(map(readable, names))}
    kept = None if crop_pixels else stored
    return Pictures(name, identity, ids | dict(columns), read, len(names), kept, lacking=lacking or {})


def of_array(
    name: str,
    fingerprint: str,
    columns: Mapping[str, Sequence[Any]],
    open_rows: Callable[[], Any],
    count: int,
) -> Pictures:
    """Pictures that are rows of an array, (N, H, W) or (N, H, W, 3) of uint8, which is opened at the first `read`."""
    _check_columns(name, count, columns)
    rows = Lazy(open_rows)

    def read(index: int) -> Image.Image:
        try:
            row: NDArray[np.uint8] = np.ascontiguousarray(rows.get()[index], np.uint8)
        except (OSError, ValueError, IndexError) as error:
            raise Broken(f"{name}: picture {index:,} cannot be read ({str(error)[:80]}); get its file anew") from error
        return Image.fromarray(row)

    return Pictures(name, identity_of("array", fingerprint), columns, read, count)


def _check_columns(name: str, count: int, columns: Mapping[str, Sequence[Any]]) -> None:
    for column, values in columns.items():
        if len(values) != count:
            raise Broken(f"{name}: has {count:,} pictures and {len(values):,} of '{column}'; get it anew")
    if not count:
        raise Broken(f"{name}: has no pictures")
