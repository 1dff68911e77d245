"""The bytes of a crawl's file as pieces: gzip members one after the other, or a plain file as it is.

A record of a WARC file is a gzip member, so that one can be read by itself. A broken member ends where the next one begins
that holds a record: it is looked for in the bytes of the broken one first. Memory is bounded by what is kept for that.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from isal import isal_zlib

_READ = 1 << 20
_FEED = 1 << 15  # zlib hands back what follows a member's end, copied: small bites keep that cheap
_PIECE = 4 << 20
_KEPT = 16 << 20  # raw bytes of one member that are held to look for the next one in, should it break
_MAGIC = b"\x1f\x8b\x08"


class Piece(NamedTuple):
    """Bytes of one gzip member or of a plain file, in order."""

    offset: int
    data: bytes
    first: bool
    last: bool
    plain: bool = False
    damage: str | None = None


def pieces(stream: BinaryIO, is_head: Callable[[bytes], bool]) -> Iterator[Piece]:
    """The file in order. `is_head` says whether bytes begin like a record: where to go on after a broken member."""
    source = _Source(stream)
    if source.fill(3) and source.peek(3) == _MAGIC:
        yield from _members(source, is_head)
        return
    first = True
    while True:
        offset = source.offset
        data = source.take(_PIECE)
        last = not source.fill(1)
        if data or not first:
            yield Piece(offset, data, first, last, plain=True)
        if last:
            return
        first = False


class _Source:
    """A stream with a look ahead."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._data = b""
        self._at = 0
        self.offset = 0

    def fill(self, wanted: int) -> bool:
        """Whether so many bytes are there (or could be read)."""
        while len(self._data) - self._at < wanted:
            more = self._stream.read(_READ)
            if not more:
                return False
            self._data = self._data[self._at :] + more
            self._at = 0
        return True

    def peek(self, size: int) -> bytes:
        return self._data[self._at : self._at + size]

    def bite(self, size: int) -> memoryview:
        """What peek gives, without a copy."""
        return memoryview(self._data)[self._at : self._at + size]

    def skip(self, size: int) -> None:
        self._at += size
        self.offset += size

    def take(self, size: int) -> bytes:
        self.fill(size)
        data = self.peek(size)
        self.skip(len(data))
        return data

    def back(self, data: bytes) -> None:
        """Put bytes that were taken last back in front."""
        self._data = data + self._data[self._at :]
        self._at = 0
        self.offset -= len(data)


def _members(source: _Source, is_head: Callable[[bytes], bool]) -> Iterator[Piece]:
    """The gzip members one after the other, large ones in pieces."""
    while source.fill(1):
        offset, bite = source.offset, source.bite(_FEED)
        # ISA-L inflates half as fast again as zlib. What it cannot finish goes to zlib, which tells more of what is broken.
        inflater = isal_zlib.decompressobj(31)
        try:
            got = inflater.decompress(bite, _PIECE)
        except isal_zlib.IsalError:  # type: ignore[misc]
            got = b""
        if inflater.eof:  # most members are small
            source.skip(len(bite) - len(inflater.unused_data))
            yield Piece(offset, got, True, True)
        else:
            yield from _large_member(source, is_head)
        while source.fill(1) and source.peek(1) in b"\0\r\n":  # some writers fill up to a block
            source.skip(1)


def _large_member(source: _Source, is_head: Callable[[bytes], bool]) -> Iterator[Piece]:
    """A member that is more than a bite, or broken: its pieces; what it holds before damage is given too."""
    offset, first = source.offset, True
    inflater = zlib.decompressobj(31)
    raw: list[bytes | memoryview] = []
    out: list[bytes] = []
    raw_bytes = out_bytes = 0
    damage: str | None = None
    while not inflater.eof:
        bite: bytes | memoryview = inflater.unconsumed_tail
        if not bite:
            source.fill(1)
            bite = source.bite(_FEED)
            if not bite:
                damage = "cut off"
                break
            source.skip(len(bite))
            raw.append(bite)
            raw_bytes += len(bite)
            while raw_bytes > _KEPT and len(raw) > 1:
                raw_bytes -= len(raw.pop(0))
        try:
            got = inflater.decompress(bite, _PIECE)
        except zlib.error:
            damage = "broken gzip"
            break
        out.append(got)
        out_bytes += len(got)
        if out_bytes >= _PIECE and not inflater.eof:
            yield Piece(offset, b"".join(out), first, False)
            first, out, out_bytes = False, [], 0
    if damage is None:
        source.back(inflater.unused_data)
    else:
        _seek_member(source, b"".join(raw), is_head)
    yield Piece(offset, b"".join(out), first, True, damage=damage)


def _seek_member(source: _Source, raw: bytes, is_head: Callable[[bytes], bool]) -> None:
    """Move on to the next gzip member that begins like a record, looking into the bytes of the broken one first."""
    source.back(raw)
    source.skip(1)
    while source.fill(len(_MAGIC)):
        window = source.peek(_READ)
        place = window.find(_MAGIC)
        if place < 0:
            source.skip(max(1, len(window) - len(_MAGIC) + 1))
            continue
        source.skip(place)
        source.fill(_FEED)
        if is_head(_begin_of(source.peek(_FEED))):
            return
        source.skip(1)
    source.skip(len(source.peek(_READ)))


def _begin_of(raw: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(raw, 4096)
    except zlib.error:
        return b""
