"""MNIST's and EMNIST's idx files, plain or gzipped (LeCun's "The MNIST database", file formats).

A file is 0, 0, a type byte (8 = unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit number,
and the values. EMNIST's pictures lie on their side (column first) in the original files; they are turned upright, as in
its Matlab version.
"""

import functools
import gzip
import io
import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from evaluation.pictures.decoding import of_array
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures

UNSIGNED_BYTES = 8
MOST_BYTES = 1 << 30
"""No idx file of a benchmark is larger; a gzip file that claims so is not unpacked."""


def read_idx(folder: Folder, name: str, dimensions: int) -> NDArray[np.uint8]:
    """The array in the file `name` or `name`.gz. Raises Broken for another magic, type or length."""
    zipped = not folder.has(name) and folder.has(f"{name}.gz")
    path = folder.at(f"{name}.gz" if zipped else name)
    data = folder.read(f"{name}.gz" if zipped else name)
    if zipped:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Broken(f"{path}: is no whole gzip file ({error}); get it anew") from error
    if len(data) < 4 or data[:4] != bytes([0, 0, UNSIGNED_BYTES, dimensions]):
        raise Broken(
            f"{path}: starts with {data[:4].hex(' ')}, not 00 00 08 {dimensions:02x}; it is no idx file of this kind"
        )
    head = 4 + 4 * dimensions
    if len(data) < head:
        raise Broken(f"{path}: ends within its head; get it anew")
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    if len(data) != head + math.prod(shape):
        raise Broken(f"{path}: has {len(data) - head:,} values, its head says {math.prod(shape):,}; get it anew")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _open(home: Folder, split: str, images: str, labels: str, layout: str, upright: bool) -> Pictures:
    numbers = read_idx(home, labels, 1)
    name = images if home.has(images) else f"{images}.gz"

    def rows() -> NDArray[np.uint8]:
        pixels = read_idx(home, images, 3)
        if len(pixels) != len(numbers):
            raise Broken(f"{home.at(name)}: has {len(pixels):,} pictures and {len(numbers):,} labels")
        return pixels if upright else pixels.transpose(0, 2, 1)

    words = tuple(str(number) for number in numbers)
    return of_array(f"{layout}/{split}", home.fingerprint(name), {"label": words}, rows, len(numbers))


def _mnist(home: Folder, split: str) -> Pictures:
    part = "train" if split == "train" else "t10k"
    return _open(home, split, f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte", "mnist", True)


def _emnist(kind: str, home: Folder, split: str) -> Pictures:
    stem = f"emnist-{kind}-{split}"
    return _open(home, split, f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte", f"emnist-{kind}", False)


MNIST = Reader("mnist", (("t10k-images-idx3-ubyte*",),), _mnist, homes=("", "raw", "MNIST/raw"))
EMNIST = tuple(
    Reader(
        f"emnist-{kind}",
        ((f"emnist-{kind}-test-images-idx3-ubyte*",),),
        functools.partial(_emnist, kind),
        homes=("", "gzip", "raw", "EMNIST/raw"),
    )
    for kind in ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
)
