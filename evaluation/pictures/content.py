"""What tells files from others of the same names and sizes, without reading all of a large dataset and without times.

Times do not count, because copying or cloning changes them and no picture. Up to WHOLE_BYTES every byte counts. Of more, every
byte of each file that is large enough to hold many pictures (an archive, an array), read once (file_hashes.py), and the two ends of
the others: a picture that was mended in place differs in its last bytes, since its code is compressed. On a URL the ends of
large files have to do, and a change in the middle of one that keeps its size is not noticed.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from evaluation.pictures.file_hashes import hashes_of
from pipeline import storage

WHOLE_BYTES = 256 << 20
END_BYTES = 4096
MANY_PICTURES_BYTES = 4 << 20
"""From this size on every byte of a local file counts."""
MOST_FILES = 100_000
"""Files of which the ends are read, spread over all."""


def content_of(
    names: Sequence[str],
    sizes: Sequence[int],
    read: Callable[[str, int, int], bytes],
    end_bytes: int = END_BYTES,
    most_files: int = MOST_FILES,
    path: Callable[[str], str] | None = None,
) -> str:
    """SHA-256 over names, sizes and what `read(name, start, length)` gives of their content, in this order. `path` gives local
    files, of which the large ones are hashed whole."""
    digest = hashlib.sha256(names_and_sizes(names, sizes).encode())
    whole = sum(sizes) <= WHOLE_BYTES
    count = len(names) if whole else min(most_files, len(names))
    large = (
        ()
        if whole or path is None
        else [name for name, size in zip(names, sizes, strict=True) if size >= MANY_PICTURES_BYTES]
    )
    hashes = dict(zip(large, hashes_of([path(name) for name in large]) if path else (), strict=True))
    for name in large:
        digest.update(hashes[name].encode())
    for at in (position * len(names) // count for position in range(count)):
        name, size = names[at], sizes[at]
        if not size or name in hashes:
            continue
        if whole or size <= 2 * end_bytes:
            digest.update(hashlib.sha256(read(name, 0, size)).digest())
        else:
            ends = read(name, 0, end_bytes) + read(name, size - end_bytes, end_bytes)
            digest.update(hashlib.sha256(ends).digest())
    return digest.hexdigest()


def names_and_sizes(names: Iterable[str], sizes: Iterable[int]) -> str:
    """Their hash, one pair in memory at a time."""
    digest = hashlib.sha256()
    for name, size in zip(names, sizes, strict=True):
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def content_of_folder(folder: str, end_bytes: int = END_BYTES) -> str | None:
    """The same of all files below a local folder, hidden ones left out; None where there is none, or on a URL."""
    if not storage.is_local(folder):
        return None
    root = folder.removeprefix("file://")
    sizes = dict(sorted(_sizes(root)))

    def read(name: str, start: int, length: int) -> bytes:
        try:
            with open(os.path.join(root, name), "rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError:  # whoever needs it says it
            return b""

    names = list(sizes)
    return content_of(names, list(sizes.values()), read, end_bytes, path=partial(os.path.join, root)) if sizes else None


def _sizes(root: str) -> Iterator[tuple[str, int]]:
    """Name and bytes of every file below `root`, links followed and each folder seen once; 0 bytes for what is no file."""
    seen: set[str] = set()
    for here, inner, names in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(here))
        inner[:] = [
            each
            for each in inner
            if not each.startswith(".") and os.path.realpath(os.path.join(here, each)) not in seen
        ]
        for name in [each for each in names if not each.startswith(".")]:
            path = os.path.join(here, name)
            try:
                found = os.stat(path)
                size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            except OSError:
                size = 0
            yield os.path.relpath(path, root), size
