"""The input files of a source: named by paths, globs or a list, told apart by their content and never by their place.

A local file is known by its SHA-256. A remote one by size and the store's own checksum (ETag, md5, crc32c), so that
terabytes are not read twice. Files are taken in the order of these, so the order and names of the list change nothing.
"""

import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import Executor
from pipeline.execution.progress import Progress, silent
from pipeline.sources.config import FilesSource
from pipeline.web.ranged import guarded, is_web, url_of
from pipeline.web.urls import UnusableURLError
from pipeline.web.web_config import NetworkConfig

# Sums of the content first: Google's etag is of a version, another for the same bytes written again.
_CHECKSUMS = ("md5Hash", "content_md5", "ETag", "etag", "checksum", "sha256", "crc32c", "blob_id")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Input:
    """One file: where it is, its name for people (never a whole path), and what it contains."""

    path: str
    name: str
    identity: str
    bytes: int


def expanded(config: FilesSource, key: str = "curate.sources", network: NetworkConfig | None = None) -> list[str]:
    """Every file of the source, sorted. Raises ConfigError for a path that is not there or cannot be read here.

    Files on the web are read within the limits of `network`, and come back as paths that hold them.
    """
    found: set[str] = set()
    for pattern in config.files:
        found.update(matching(pattern, key, network))
    if config.paths_file is not None:
        lines = read_text(config.paths_file, key, network).split("\n")
        found.update(
            readable(storage.join(config.prefix, line.strip()) if config.prefix else line.strip(), key, network)
            for line in lines
            if line.strip()
        )
    return sorted(found)


def matching(pattern: str, key: str, network: NetworkConfig | None = None) -> list[str]:
    """The files that a path or glob names; of a URL that one file."""
    if is_web(pattern):
        return [_on_the_web(pattern, key, network)]
    filesystem, name = _filesystem(checked_scheme(pattern, key), key)
    local = storage.is_local(pattern)
    # "links[1].csv" is also a pattern, which that file does not fit.
    if not any(mark in name for mark in "*?[") or ("*" not in name and filesystem.isfile(name)):
        if not filesystem.exists(name):
            raise ConfigError(f"{key}: {pattern!r} does not exist; correct the path")
        if filesystem.isdir(name):
            raise ConfigError(f"{key}: {pattern!r} is a folder; name its files, {storage.join(pattern, '*')} say")
        return [pattern]
    try:
        names = [str(each) for each in filesystem.glob(name) if not filesystem.isdir(each)]
    except FileNotFoundError:  # some stores say so of a folder that is not there
        names = []
    if not names:
        raise ConfigError(f"{key}: {pattern!r} fits no file; correct the pattern")
    return names if local else [filesystem.unstrip_protocol(each) for each in names]


def _on_the_web(url: str, key: str, network: NetworkConfig | None) -> str:
    path = readable(url, key, network)
    try:
        storage.size(path)
    except FileNotFoundError:
        raise ConfigError(f"{key}: {url!r} does not exist; correct the address") from None
    except OSError as error:
        raise DataError(f"{key}: {error}") from None
    return path


def readable(path: str, key: str, network: NetworkConfig | None = None) -> str:
    """The path by which fsspec reads a file, on the web through our own guarded door. Raises ConfigError."""
    if is_web(path):
        try:
            return guarded(path, network or NetworkConfig())
        except UnusableURLError as error:
            raise ConfigError(f"{key}: {path!r}: {error}; correct the address") from None
    return checked_scheme(path, key)


def checked_scheme(path: str, key: str) -> str:
    """Raises ConfigError for a folder on the web."""
    if path.lower().startswith(("http://", "https://", "ftp://")):
        raise ConfigError(
            f"{key}: {path!r}: the web has no folders that can be listed; name its files one by one (kind table, wat or"
            " warc), or download it and give its path"
        )
    return path


def _filesystem(path: str, key: str) -> tuple[Any, str]:
    try:
        return storage.filesystem_of(path)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error


def read_text(path: str, key: str, network: NetworkConfig | None = None) -> str:
    """A list of paths, unzipped."""
    (only,) = matching(path, key, network)
    data = storage.read_bytes(only)
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        raise ConfigError(f"{key}: {path!r} is damaged gzip; fetch the list again") from None


def fingerprint(paths: Sequence[str], key: str = "curate.sources") -> str:
    """A cheap hash of names, sizes and times or checksums: whether a finished step may have to look again."""
    told = []
    for path in paths:
        filesystem, name = _filesystem(path, key)
        told.append([path, *marks(filesystem.info(name))])
    return storage.sha256(storage.canonical_json(told))


def marks(information: Any) -> list[Any]:
    """Size, and the store's checksum or the time of the last change."""
    sums = [str(information[word]) for word in _CHECKSUMS if information.get(word)]
    changed = information.get("mtime") or information.get("LastModified") or information.get("last_modified")
    return [information.get("size"), sums[0] if sums else str(changed)]


def identified(paths: Sequence[str], executor: Executor, progress: Progress = silent) -> list[Input]:
    """The files with their contents' identities, in the order of these; the same content twice counts once."""
    found: dict[str, Input] = {}
    for done, (_, each) in enumerate(executor.map(identify, list(paths)), 1):
        progress(done, len(paths), "looks at input files")
        kept = found.setdefault(each.identity, each)
        if (each.name, each.path) < (kept.name, kept.path):
            found[each.identity] = each
    return [found[identity] for identity in sorted(found)]


def identify(path: str) -> Input:
    """Raises DataError where the file cannot be read."""
    filesystem, name = storage.filesystem_of(path)
    try:
        information = filesystem.info(name)
        if information.get("type", "file") != "file":  # a pipe would never end
            raise OSError("it is no file")
        size = int(information["size"])
        sums = [str(information[word]) for word in _CHECKSUMS if information.get(word)]
        mark = f"{size}:{sums[0]}" if sums and not storage.is_local(path) else storage.sha256_file(path)
    except OSError as error:
        raise DataError(
            f"{url_of(path)}: cannot be read ({error.strerror or error}); correct the path and run again"
        ) from error
    return Input(path, path.rstrip("/").rsplit("/", 1)[-1], mark, size)


def open_blocks(path: str, offset: int = 0, length: int | None = None) -> BinaryIO:
    """The file for reading on from `offset`, or `length` bytes of it in memory."""
    filesystem, name = storage.filesystem_of(path)
    if length is not None:
        return io.BytesIO(filesystem.cat_file(name, offset, offset + length))
    file: BinaryIO = filesystem.open(name, "rb", **({} if storage.is_local(path) else {"block_size": 8 * _BLOCK}))
    if offset:
        file.seek(offset)
    return file
