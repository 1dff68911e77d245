"""Records of WARC 1.0/1.1 (ISO 28500) and ARC files, gzipped or plain, however damaged.

A crawl's file is a gigabyte of records, and one bad one must not cost the rest: known readers stop at the first broken
gzip member (FastWARC 2.0: "data error", and the file is over) or a wrong Content-Length. Here the next member that begins
like a record is looked for, and what lies between is one damaged record with its place. Pure Python: no parser that bytes
could crash. Memory is bounded by the largest record that is wanted. What a file's bytes are made of: `members.py`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.sources.members import pieces

_MAX_HEAD = 1 << 16
_BLANK = re.compile(rb"[\r\n\t \0]*")
_ARC = re.compile(rb"([A-Za-z][^\r\n]{0,8000}) ([0-9A-Fa-f.:]{2,45}) (\d{8,14}) ([^\r\n]{0,2000}?) ?(\d{1,15})\r?\n")
_LENGTH = re.compile(rb"(?i)\ncontent-length[ \t]*:[ \t]*(\d{1,15})[ \t]*(?:\r|\n|$)")
_TYPE = re.compile(rb"(?i)\nwarc-type[ \t]*:[ \t]*([a-z]+)")
_NEXT = re.compile(rb"\n(?=WARC/1\.|[a-z]{2,10}:[^\r\n ]{0,8000} [0-9.]{7,15} \d{14} [^\r\n]{1,2000}\n)")


@dataclass(slots=True)
class Record:
    """One record. `offset` is where a range read would begin: its gzip member, or itself in a plain file.

    `kind` is WARC-Type ("response" for an ARC document). Where `damage` says what is wrong, the rest may be empty.
    """

    offset: int
    kind: str = ""
    head: bytes = b""
    payload: bytes = b""
    damage: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The record's own headers, names in lower case. Read when asked for: most records are passed over."""
        return headers_of(self.head)

    @property
    def url(self) -> str:
        return self.headers.get("warc-target-uri", "").strip("<>")


def read_records(stream: BinaryIO, max_record_bytes: int = 64_000_000) -> Iterator[Record]:
    """Every record and every damaged place of a file, in order; never raises for what the bytes are."""
    carry, skip, lost, base = b"", 0, False, 0
    for piece in pieces(stream, _is_head):
        if piece.first:
            carry, skip, lost = b"", 0, False
        data = carry + piece.data if carry else piece.data
        base = piece.offset - len(carry) if piece.plain else piece.offset
        position = min(skip, len(data))
        skip -= position
        carry = b""
        while position < len(data):
            record, after = _one(data, position, piece.last, max_record_bytes)
            if after is None:  # the rest of it is to come
                carry = data[position:]
                break
            if record is not None and not (record.damage == _NO_RECORD and lost):
                record.offset = base + record.offset if piece.plain else base
                yield record
            lost = lost if record is None else record.damage is not None
            skip, position = max(0, after - len(data)), after
        if piece.damage and not lost:
            yield Record(base, damage=piece.damage)


_NO_RECORD = "no record begins here"


def _one(data: bytes, start: int, last: bool, max_record_bytes: int) -> tuple[Record | None, int | None]:
    """The record at `start` and where the next begins, which may lie beyond `data`; (None, None) needs more data."""
    if data.startswith(b"WARC/", start):
        return _warc(data, start, last, max_record_bytes)
    position = _blank_end(data, start)
    if position == len(data):
        return None, position
    if data.startswith(b"WARC/", position):
        return _warc(data, position, last, max_record_bytes)
    if len(data) - position < 5 and not last:
        return None, None
    line = _ARC.match(data, position, position + _MAX_HEAD)
    if line is not None:
        return _arc(data, line, last, max_record_bytes)
    if not last and len(data) - position < _MAX_HEAD:
        return None, None
    following = _NEXT.search(data, position)
    after = following.end() if following else len(data) if last else len(data) - 16
    return Record(position, damage=_NO_RECORD), after


def _warc(data: bytes, start: int, last: bool, max_record_bytes: int) -> tuple[Record | None, int | None]:
    end, width = data.find(b"\r\n\r\n", start, start + _MAX_HEAD), 4
    # A writer of bare line ends: the \r\n\r\n is that of the answer inside, or there is none.
    bare = data.find(b"\n\n", start, end if end >= 0 else start + _MAX_HEAD)
    if bare >= 0:
        end, width = bare, 2
    if end < 0:
        if not last and len(data) - start < _MAX_HEAD:
            return None, None
        # No header that begins in the first half of this window ends in it: going on there keeps hostile files linear.
        return Record(start, damage=_NO_RECORD), _resume(data, min(start + _MAX_HEAD // 2, len(data)), last)
    head = data[start:end]
    length, kind = _LENGTH.search(head), _TYPE.search(head)
    if length is None:
        return Record(start, damage="no Content-Length"), _resume(data, end, last)
    record = Record(start, kind[1].decode("latin-1").lower() if kind else "", head)
    return _cut(data, record, end + width, end + width + int(length[1]), last, max_record_bytes)


def _arc(data: bytes, line: "re.Match[bytes]", last: bool, max_record_bytes: int) -> tuple[Record | None, int | None]:
    url, media = line[1], line[4].split(b" ")[0]
    kind = "warcinfo" if url.startswith(b"filedesc:") else "response" if url.startswith(b"http") else "resource"
    record = Record(line.start(), kind, b"ARC\nWARC-Target-URI: " + url + b"\nContent-Type: " + media)
    return _cut(data, record, line.end(), line.end() + int(line[5]), last, max_record_bytes)


def _cut(
    data: bytes, record: Record, start: int, end: int, last: bool, max_record_bytes: int
) -> tuple[Record | None, int | None]:
    """The record with its payload, if what follows it looks like a record's end."""
    size = len(data)
    if end - start > max_record_bytes:  # its length may be a lie, so what follows is looked for and not counted out
        record.damage = "larger than max_record_bytes"
        return record, _resume(data, start, last)
    if end + 16 > size and not last:
        return None, None
    if end <= size:
        record.payload = data[start:end]
        if (
            (size - end == 4 and data.endswith(b"\r\n\r\n"))
            or (after := _blank_end(data, end)) == size
            or _begins(data, after)
        ):
            return record, size if end + 4 == size else end
    # Content-Length is wrong, or the file ends early: the record ends where the next one begins.
    inside = _NEXT.search(data, start, min(end, size))
    if inside is not None:
        record.payload = data[start : inside.end()].rstrip(b"\r\n")
        return record, inside.end()
    if end > size:
        record.damage = "cut off"
    return record, min(end, size)


def _blank_end(data: bytes, position: int) -> int:
    blank = _BLANK.match(data, position)
    return blank.end() if blank else position


def _begins(data: bytes, position: int) -> bool:
    return data.startswith(b"WARC/", position) or _ARC.match(data, position, position + _MAX_HEAD) is not None


def _resume(data: bytes, position: int, last: bool) -> int:
    following = _NEXT.search(data, position)
    return following.end() if following else len(data) if last else max(position, len(data) - 16)


def headers_of(head: bytes) -> dict[str, str]:
    """Names in lower case; of a name that stands twice both values, one per line. The first line is not one."""
    found: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            found[key] = f"{found[key]}\n{value.strip()}" if key in found else value.strip()
    return found


def _is_head(data: bytes) -> bool:
    return data.startswith(b"WARC/") or _ARC.match(data) is not None
