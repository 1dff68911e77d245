"""Where the members of a tar lie, found from their headers alone: names, offsets, lengths; nothing is unpacked.

Written for tars of strangers, so it is a small reader of POSIX ustar headers with GNU long names and pax paths and sizes
(POSIX.1-2017, pax, "ustar Interchange Format"), not `tarfile`: links, devices and names that lead out of the folder are
counted, never followed, and a header may not ask for memory.
"""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.errors import ConfigError

BLOCK = 512
MAX_EXTRA_BYTES = 65_536
"""Longest GNU long name or pax header that is read."""
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class Member:
    """A regular file: `name` as written; its bytes are [offset, offset + size); it and its headers [start, end)."""

    name: str
    start: int
    offset: int
    size: int
    end: int


class BrokenTarError(Exception):
    """The tar cannot be read on from here: no header where one must be, or it ends too soon."""


def tars_of(key: str, names: Sequence[str]) -> list[str]:
    """The tars among the files of a folder. Raises ConfigError where some are compressed, as webdataset takes them: their
    pictures have no place to be read from, and a dataset without them is not the one that was meant."""
    packed = [name for name in names if name.lower().endswith(_COMPRESSED)]
    if packed:
        raise ConfigError(
            f"{key}: {len(packed)} of its tars are compressed (the first: {packed[0]}), so no picture can be read by its"
            " place; unpack them to .tar (gunzip), or move them elsewhere"
        )
    return [name for name in names if name.endswith(".tar")]


def members(file: BinaryIO, problems: Counter[str]) -> Iterator[Member]:
    """The regular files in order. What is not one is counted in `problems` (link, device, directory, bad_name).

    Raises BrokenTarError where the rest cannot be read; what came before holds.
    """
    length = file.seek(0, io.SEEK_END)
    at, start = 0, 0
    name: str | None = None
    size: int | None = None
    while at + BLOCK <= length:
        file.seek(at)
        head = file.read(BLOCK)
        if head == bytes(BLOCK):  # the end; some writers leave only one empty block
            return
        kind, stated = _checked(head, at)
        if kind in (b"L", b"K", b"x", b"g"):
            if stated > MAX_EXTRA_BYTES or at + BLOCK + stated > length:
                raise BrokenTarError(f"a header of {stated:,} bytes at byte {at:,}")
            extra = file.read(stated)
            if kind == b"L":
                name = extra.split(b"\0")[0].decode("utf-8", "replace")
            elif kind == b"x":
                fields = _pax(extra)
                name = fields.get("path", name)
                size = int(fields["size"]) if fields.get("size", "").isdecimal() else size
            at += BLOCK + -(-stated // BLOCK) * BLOCK
            continue
        real = size if size is not None else stated
        offset = at + BLOCK
        if offset + real > length:
            raise BrokenTarError(f"it ends inside the member at byte {at:,}")
        word = name if name is not None else _name(head)
        end = offset + -(-real // BLOCK) * BLOCK
        problem = _problem(kind, word)
        if problem is None:
            yield Member(word, start, offset, real, end)
        else:
            problems[problem] += 1
        at = start = end
        name, size = None, None
    # A writer that was killed leaves no empty block; what follows, nobody knows.
    raise BrokenTarError(f"it ends without an end at byte {at:,}")


def readable_members(file: BinaryIO, problems: Counter[str]) -> list[Member]:
    """`members`, as far as the tar can be read; where it cannot, that is one more problem (broken_tar)."""
    found: list[Member] = []
    try:
        found.extend(members(file, problems))  # a list keeps what came before the exception
    except BrokenTarError:
        problems["broken_tar"] += 1
    return found


def sample_of(name: str) -> tuple[str, str]:
    """WebDataset's split of a name: "a/b.c/00001.seg.png" is key "a/b.c/00001", extension "seg.png"."""
    folder, slash, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return folder + slash + stem, extension.lower()


def _checked(head: bytes, at: int) -> tuple[bytes, int]:
    """Type and size of a header whose checksum is right."""
    try:
        told = int(head[148:156].strip(b" \0") or b"0", 8)
        size = _number(head[124:136])
    except ValueError:
        raise BrokenTarError(f"no header at byte {at:,}") from None
    if told != sum(head) - sum(head[148:156]) + 8 * 32 or size < 0:
        raise BrokenTarError(f"no header at byte {at:,}")
    return head[156:157], size


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU: base 256
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _name(head: bytes) -> str:
    name = head[:100].split(b"\0")[0]
    prefix = head[345:500].split(b"\0")[0] if head[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _pax(data: bytes) -> dict[str, str]:
    """ "27 path=some/long/name\\n" records; the first that is not one ends it."""
    fields: dict[str, str] = {}
    while data:
        digits, space, _ = data.partition(b" ")
        if not space or not digits.isdigit() or len(digits) > 6 or not len(digits) < int(digits) <= len(data):
            break
        record, data = data[len(digits) + 1 : int(digits)], data[int(digits) :]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return fields


def _problem(kind: bytes, name: str) -> str | None:
    if kind in (b"1", b"2"):
        return "link"
    if kind == b"5":
        return "directory"
    if kind not in (b"0", b"\0", b"7"):
        return "device"
    bad = not name or name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or "\0" in name
    return "bad_name" if bad else None
