"""Files too large for memory: written as a stream that is hashed on its way, read in ranges.

As everywhere on storage, a file appears under its name when it is whole, and not before.
"""

import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from pipeline.errors import DataError
from pipeline.storage import Written, filesystem_of, is_local, join, list_names, unwritable


class Stream:
    """What `stream` gives: write to it in order. `written` is known once the `with` block has ended well."""

    written: Written

    def __init__(self, file: BinaryIO, temporary: str) -> None:
        self._file, self.temporary = file, temporary
        self._digest, self._bytes = hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        self._digest.update(data)
        count = self._file.write(data)
        self._bytes += count
        return count

    def tell(self) -> int:
        return self._bytes

    def flush(self) -> None:
        """All that was written can be read from the file `temporary`."""
        self._file.flush()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def writable(self) -> bool:
        return True

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.written = Written(self._bytes, self._digest.hexdigest())


STREAMING = ".part"
"""How the name of a file ends while it is written by `stream`; what a killed process leaves, `remove_unfinished` removes."""


@contextmanager
def stream(path: str) -> Iterator[Stream]:
    """Write a file of any size: it appears under its name, whole, when the block ends without an exception.

    Raises DataError when the disk is full or the folder cannot be written.
    """
    filesystem, name = filesystem_of(path)
    try:
        if is_local(path):
            filesystem.makedirs(name.rsplit("/", 1)[0], exist_ok=True)
            temporary = f"{name}.{uuid.uuid4().hex}{STREAMING}"
        else:  # an object store takes whole objects; what is not whole stays on this machine
            descriptor, temporary = tempfile.mkstemp(suffix=STREAMING)
            os.close(descriptor)
        try:
            with open(temporary, "wb") as file:
                sink = Stream(file, temporary)
                yield sink
                sink.finish()
            if is_local(path):
                os.replace(temporary, name)
            else:
                filesystem.put_file(temporary, name)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)
    except OSError as error:
        raise unwritable(path, error) from error


def remove_unfinished(folder: str) -> None:
    """Remove what killed writers left in `folder`. Only where nobody writes there now."""
    if is_local(folder):
        for name in list_names(folder):
            if name.endswith(STREAMING):
                os.remove(join(filesystem_of(folder)[1], name))


def read_ranges(paths: Sequence[str], starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
    """Pieces of files, read at once where they lie in an object store. Raises DataError where one cannot be read."""
    if not paths:
        return []
    filesystem, _ = filesystem_of(paths[0])
    try:
        if is_local(paths[0]):
            return [_range(path, at, length) for path, at, length in zip(paths, starts, lengths, strict=True)]
        names = [filesystem_of(path)[1] for path in paths]
        ends = [at + length for at, length in zip(starts, lengths, strict=True)]
        return [bytes(data) for data in filesystem.cat_ranges(names, list(starts), ends, on_error="raise")]
    except OSError as error:
        raise DataError(f"{error.filename or paths[0]}: cannot be read ({error.strerror or error})") from error


def _range(path: str, start: int, length: int) -> bytes:
    with open(path.removeprefix("file://"), "rb", buffering=0) as file:
        file.seek(start)
        return file.read(length)
