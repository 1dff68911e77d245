"""Remote shards on a local disk: bounded, shared by all processes of a machine, sound after any kill.

A shard is written to NAME.part, which its writer holds locked (flock: the lock dies with its holder), and gets its name when
it is whole and its checksum is right. Using a shard sets its time; when room is needed the longest unused go first. Who still
reads a removed file reads on, and who comes later fetches it again.
"""

import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pipeline import storage
from pipeline.errors import DataError
from training.data.part import DataFile

PIECE_BYTES = 4 << 20
ATTEMPTS = 3
TOUCH_SECONDS = 60.0
"""A shard's time of use need not be finer."""


def default_folder() -> str:
    """Where caches belong on this system (XDG base directories), or the folder for temporary files."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    try:
        os.makedirs(os.path.join(home, "openwit"), exist_ok=True)
    except OSError:
        home = tempfile.gettempdir()
    return os.path.join(home, "openwit")


class ShardCache:
    """`local(file)` is the path of a file on this machine. `room_bytes` 0 keeps nothing."""

    def __init__(self, folder: str, room_bytes: int) -> None:
        self.folder = folder or default_folder()
        self._shards = Path(self.folder) / "shards"
        self._room = room_bytes
        self._touched: dict[str, float] = {}
        self._busy = threading.Lock()
        self._one_each: dict[str, threading.Lock] = {}

    @property
    def keeps(self) -> bool:
        return self._room > 0

    def local(self, file: DataFile) -> str:
        """Fetches the file where it is remote and not here. Raises DataError where that fails."""
        if storage.is_local(file.path):
            return file.path.removeprefix("file://")
        if file.bytes > self._room:
            raise DataError(
                f"{file.path}: {file.bytes:,} bytes, and train.data.shard_cache_mib leaves {self._room:,}; raise it"
            )
        name = storage.sha256(storage.canonical_json([file.path, file.bytes, file.sha256, *file.changed]))[:32]
        path = self._shards / name
        with self._busy:
            mine = self._one_each.setdefault(name, threading.Lock())
        with mine:  # flock alone would let threads of one process through, each with a descriptor of its own
            while not self._use(path):
                try:
                    self._fetch(file, path)
                except OSError as error:
                    raise DataError(f"{file.path}: cannot be fetched ({error.strerror or error})") from error
        return str(path)

    def descriptor(self, file: DataFile) -> int:
        """Of the file, open to be read; fetched again where another process makes room just now. Raises DataError or OSError."""
        for _ in range(ATTEMPTS):
            with suppress(FileNotFoundError):
                return os.open(self.local(file), os.O_RDONLY)
        return os.open(self.local(file), os.O_RDONLY)

    @contextmanager
    def opened(self, file: DataFile) -> Iterator[BinaryIO]:
        """To be read once, front to back mostly; a remote one for which there is no room comes piece by piece, and none is kept.

        Raises DataError where it cannot be read.
        """
        if storage.is_local(file.path) or file.bytes <= self._room:
            with os.fdopen(self.descriptor(file), "rb") as local:
                yield local
            return
        filesystem, name = storage.filesystem_of(file.path)
        try:
            with filesystem.open(name, "rb", block_size=PIECE_BYTES) as source:
                yield source
        except (OSError, ValueError) as error:  # ValueError: of a server that gives files whole or not at all
            reason = getattr(error, "strerror", None) or error
            raise DataError(
                f"{file.path}: cannot be read in pieces ({reason}); raise train.data.shard_cache_mib to fetch it whole"
            ) from error

    def _use(self, path: Path) -> bool:
        now = time.time()
        if now - self._touched.get(path.name, 0.0) < TOUCH_SECONDS:
            return path.exists()
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        self._touched[path.name] = now
        return True

    def _fetch(self, file: DataFile, path: Path) -> None:
        self._shards.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        # Not "a+b": where a file was opened for appending, pwrite appends.
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as sink:
            fcntl.flock(sink, fcntl.LOCK_EX)
            if path.exists() or not _is_at(sink.fileno(), part):
                return  # another process was quicker; `local` looks again
            self._make_room(file.bytes, sink.fileno())
            for attempt in range(ATTEMPTS):
                try:
                    self._download(file, sink.fileno())
                    break
                except (OSError, DataError):
                    if attempt + 1 == ATTEMPTS:
                        os.unlink(part)
                        raise
                    time.sleep(0.2 * 4**attempt)
            os.replace(part, path)

    @staticmethod
    def _download(file: DataFile, descriptor: int) -> None:
        filesystem, name = storage.filesystem_of(file.path)
        digest, count = hashlib.sha256(), 0
        with filesystem.open(name, "rb", block_size=PIECE_BYTES) as source:
            while piece := source.read(PIECE_BYTES):
                digest.update(piece)
                count += os.pwrite(descriptor, piece, count)
        os.ftruncate(descriptor, count)
        if count != file.bytes or (file.sha256 is not None and digest.hexdigest() != file.sha256):
            raise DataError(
                f"{file.path}: not the file that its manifest means ({count:,} bytes); make the dataset again"
            )

    def _make_room(self, wanted: int, descriptor: int) -> None:
        """Remove the longest unused until `wanted` bytes fit, and give the new file its size at once, so that whoever makes
        room next counts it. Files that are being written stay."""
        with self._alone():
            found: dict[str, os.stat_result] = {}
            for entry in os.scandir(self._shards):
                if entry.name == ".lock" or _abandoned(entry):
                    continue
                # A file that gets its name in between must count, and only once.
                for path in (entry.path, entry.path.removesuffix(".part")):
                    with suppress(FileNotFoundError):
                        found[path] = os.stat(path)
                        break
            used = sum(state.st_size for state in found.values())
            for path, state in sorted(found.items(), key=lambda item: (item[1].st_mtime, item[1].st_size)):
                if used + wanted > self._room and not path.endswith(".part"):
                    os.unlink(path)
                    used -= state.st_size
            os.ftruncate(descriptor, wanted)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self._shards / ".lock", "a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _abandoned(entry: "os.DirEntry[str]") -> bool:
    """Whether it is the unfinished file of a killed process; then it is removed."""
    if not entry.name.endswith(".part"):
        return False
    try:
        with open(entry.path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size == 0:
                return False  # just made by somebody who will lock it in a moment
            os.unlink(entry.path)
            return True
    except (FileNotFoundError, BlockingIOError):
        return False
