"""A dataset's folder, local or on any fsspec URL: what lies in it, parts of its files, and what is wrong with them.

Every complaint names the file. A name that comes out of a dataset's own lists (a csv, a json) may not lead out of the
folder; links that the user put there are followed.
"""

import csv
import errno
import fnmatch
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.pictures.content import content_of
from evaluation.pictures.pictures import Broken
from pipeline import storage

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""How names of pictures end, in either case."""

EDGE_BYTES = 1 << 20
LOOKED_INTO = 8
"""Files of a list on a URL whose content is looked at, where it is large."""


@dataclass(frozen=True)
class Folder:
    """One folder; names are relative to it and written with `/`."""

    path: str

    def at(self, name: str) -> str:
        """Where `name` lies. Raises Broken for one that would lead out of the folder."""
        parts = name.split("/")
        if name.startswith(("/", "~")) or ".." in parts or "\\" in name or "\0" in name or "://" in name:
            raise Broken(
                f"{self.path}: lists a file called {name[:100]!r}, which lies outside the dataset; it is not read"
            )
        return storage.join(self.path, name) if name else self.path

    def below(self, name: str) -> "Folder":
        return Folder(self.at(name))

    def has(self, name: str) -> bool:
        """Whether there is such a file or folder; `*` stands for any name within one folder."""
        if "*" not in name:
            return storage.exists(self.at(name))
        above, _, last = name.rpartition("/")
        return any(fnmatch.fnmatchcase(each, last) for each in self.names(above))

    def names(self, below: str = "") -> list[str]:
        """What lies directly in the folder, sorted, but for hidden files; [] where there is no such folder."""
        path = self.at(below)
        if storage.is_local(path):
            try:
                return sorted(name for name in os.listdir(path.removeprefix("file://")) if not name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []
        return [name for name in storage.list_names(path) if not name.startswith(".")]

    def folders(self, below: str = "") -> list[str]:
        """The folders among `names`."""
        path = self.at(below)
        if storage.is_local(path):
            local = path.removeprefix("file://")
            return [name for name in self.names(below) if os.path.isdir(os.path.join(local, name))]
        filesystem, _ = storage.filesystem_of(path)
        return [name for name in self.names(below) if filesystem.isdir(storage.join(path, name))]

    def pictures(self, below: str = "", suffixes: Sequence[str] = SUFFIXES) -> list[str]:
        """Names of all pictures below a folder however deep, sorted, relative to this folder."""
        found = [name for name in self._files(below) if name.lower().endswith(tuple(suffixes))]
        return sorted(f"{below}/{name}" if below else name for name in found)

    def _files(self, below: str) -> Iterator[str]:
        path = self.at(below)
        if not storage.is_local(path):
            filesystem, root = storage.filesystem_of(path)
            for entry in filesystem.find(root):
                name = str(entry)[len(root.rstrip("/")) + 1 :]
                if not any(part.startswith(".") for part in name.split("/")):
                    yield name
            return
        top = path.removeprefix("file://")
        for folder, inner, files in os.walk(top, followlinks=True):
            inner[:] = [name for name in inner if not name.startswith(".")]
            inside = os.path.relpath(folder, top).replace(os.sep, "/")
            for file in files:
                if not file.startswith("."):
                    yield file if inside == "." else f"{inside}/{file}"

    def size(self, name: str) -> int:
        """Bytes. Raises Broken where there is no such file."""
        path = self.at(name)
        try:
            if storage.is_local(path):
                return _regular(path).st_size
            return storage.size(path)
        except (OSError, ValueError) as error:
            raise missing(path) from error

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """The file, or `length` bytes from `start`. Raises Broken where it is missing or ends before."""
        path = self.at(name)
        try:
            if storage.is_local(path):
                _regular(path)
                with open(path.removeprefix("file://"), "rb") as local:
                    local.seek(start)
                    data = local.read() if length is None else local.read(length)
            else:
                filesystem, file = storage.filesystem_of(path)
                data = bytes(filesystem.cat_file(file, start or None, None if length is None else start + length))
        except OSError as error:
            raise missing(path) from error
        if length is not None and len(data) != length:
            raise Broken(f"{path}: ends at byte {start + len(data):,}, and {start + length:,} are needed; get it anew")
        return data

    def text(self, name: str) -> str:
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Broken(f"{self.at(name)}: is not UTF-8 text ({error.reason} at byte {error.start})") from error

    def lines(self, name: str) -> list[str]:
        """The lines that are not empty, without the white space at their ends."""
        return [line.strip() for line in self.text(name).splitlines() if line.strip()]

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            raise Broken(f"{self.at(name)}: is not JSON ({error})") from error

    def rows(self, name: str, needed: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
        """The rows of a csv file by column; white space around names and values is dropped (FER's has some)."""
        reader = csv.reader(io.StringIO(self.text(name)), delimiter=delimiter, skipinitialspace=True)
        try:
            head = [column.strip() for column in next(reader, [])]
            lacking = [column for column in needed if column not in head]
            if lacking:
                raise Broken(f"{self.at(name)}: has no column '{lacking[0]}', but {', '.join(head)[:200]}")
            rows = []
            for number, row in enumerate(reader, 2):
                if row and len(row) < len(head):
                    raise Broken(f"{self.at(name)}: line {number} has {len(row)} of {len(head)} columns; get it anew")
                if row:
                    rows.append({column: value.strip() for column, value in zip(head, row, strict=False)})
        except csv.Error as error:
            raise Broken(f"{self.at(name)}: is not csv ({error})") from error
        return rows

    def fingerprint(self, *names: str) -> str:
        """What tells a few large files from others (content.py): every byte; on a URL, of more than 256 MiB, the ends."""
        return content_of(names, [self.size(name) for name in names], self.read, EDGE_BYTES, path=self._local())

    def listing(self, names: Sequence[str]) -> str:
        """What tells a list of pictures from another (content.py): of more than 256 MiB the ends of single pictures, on a
        URL those of a few, since each is a request."""
        sizes = [self.size(name) for name in names]
        if storage.is_local(self.path):
            return content_of(names, sizes, self.read, path=self._local())
        return content_of(names, sizes, self.read, EDGE_BYTES, LOOKED_INTO)

    def _local(self) -> Callable[[str], str] | None:
        if not storage.is_local(self.path):
            return None
        return lambda name: self.at(name).removeprefix("file://")


def _regular(path: str) -> os.stat_result:
    """Raises OSError for what is no file: a pipe would be waited for without end, and a device has no end."""
    found = os.stat(path.removeprefix("file://"))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is no file")
    return found


def missing(path: str) -> Broken:
    return Broken(f"{path}: is missing or cannot be read; the dataset is not whole, get this part of it anew")
