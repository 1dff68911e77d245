"""Where pictures lie inside Parquet files: file, offset and length, so that one is read without its neighbours.

Tables of curation store their column `image` plain (pipeline/storage.py), so its values are in the file as they are, each
behind its length (Parquet's PLAIN encoding for byte arrays). Their order is known, so one pass finds all their offsets.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.errors import DataError
from pipeline.streams import read_ranges

START_BYTES = 64
WINDOW_BYTES = 32 << 20
WINDOW_ROWS = 256
"""Pictures that are asked for at once: an object store answers in parallel."""


def locate(path: str, file: int) -> pa.Table:
    """(uid, file, image_offset, image_bytes) of every row of the Parquet file at `path`; `file` is its number.

    Memory: the file, twice. Raises DataError where its pictures are not stored plain, or not those that were written.
    """
    data = storage.read_bytes(path)
    with storage.whole(path):
        table = storage.parse_table(data, ["uid", "image"])
    images = table.column("image")
    lengths = pc.binary_length(images).to_pylist()
    try:
        offsets = find_values(data, pc.binary_slice(images, 0, START_BYTES).to_pylist(), lengths)
    except ValueError as error:
        raise DataError(f"{path}: {error}; it was written by another version: remove its step and run again") from error
    return pa.table(
        {
            "uid": table.column("uid"),
            "file": pa.array([file] * len(lengths), pa.int64()),
            "image_offset": pa.array(offsets, pa.int64()),
            "image_bytes": pa.array(lengths, pa.int64()),
        }
    )


def find_values(data: Any, starts: Sequence[bytes], lengths: Sequence[int]) -> list[int]:
    """Offsets in `data` of byte values stored plain and in this order; `starts` are the values or their first bytes.

    Raises ValueError where one is not found.
    """
    offsets = []
    at = 0
    for start, length in zip(starts, lengths, strict=True):
        value = length.to_bytes(4, "little") + start
        if data[at : at + len(value)] != value:  # not the next one on the page: a page's header lies between
            at = data.find(value[: 4 + START_BYTES], at)
            if at < 0 or data[at : at + len(value)] != value:
                raise ValueError("a picture does not lie in its file as it is")
        offsets.append(at + 4)
        at += 4 + length
    return offsets


class FileView:
    """A file that can be sliced and searched like bytes without lying in memory (a mapped one would count as memory)."""

    PIECE_BYTES = 1 << 20

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getitem__(self, place: slice) -> bytes:
        self._file.seek(place.start)
        return self._file.read(place.stop - place.start)

    def find(self, value: bytes, at: int) -> int:
        """The first place of `value` from `at` on, -1 where there is none."""
        while True:
            piece = self[at : at + self.PIECE_BYTES + len(value)]
            found = piece.find(value)
            if found >= 0:
                return at + found
            if len(piece) < self.PIECE_BYTES + len(value):
                return -1
            at += self.PIECE_BYTES


def read_pictures(paths: Sequence[str], rows: pa.Table) -> Iterator[bytes]:
    """The pictures of `rows` (file: position in `paths`, image_offset, image_bytes) in their order, a window in memory.

    Raises DataError where a file has become shorter or is gone.
    """
    lengths = rows.column("image_bytes").to_numpy()
    # A picture belongs to the window in which its last byte falls.
    windows = np.cumsum(lengths, dtype=np.int64) // WINDOW_BYTES
    edges = [0, *(np.flatnonzero(np.diff(windows)) + 1).tolist(), rows.num_rows]
    for start, stop in itertools.pairwise(edges):
        for first in range(start, stop, WINDOW_ROWS):
            yield from _window(paths, rows.slice(first, min(WINDOW_ROWS, stop - first)))


def _window(paths: Sequence[str], rows: pa.Table) -> Iterator[bytes]:
    files = [paths[number] for number in rows.column("file").to_pylist()]
    lengths = rows.column("image_bytes").to_pylist()
    pictures = read_ranges(files, rows.column("image_offset").to_pylist(), lengths)
    for path, picture, length in zip(files, pictures, lengths, strict=True):
        if len(picture) != length:
            raise DataError(f"{path}: shorter than when it was written; run the recipe again")
        yield picture
