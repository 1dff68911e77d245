"""HTTP/1.1 as a client reads it (RFC 9112), from servers that may be broken or hostile. No input or output happens here.

Everything that a server sends has a limit: bytes of a line, lines, bytes of a head, chunks, and of the body what its reader
wants. Tolerated is what browsers tolerate (bare line feeds, folded lines); refused is what two readers could understand
differently (control characters, two lengths, a length beside chunks).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_LINES = 128
"""Lines of a head, and of what follows the last chunk."""
HEAD_LINES = 8
"""A head has so many times the bytes of its longest line at most."""
USUAL_HEAD_BYTES = 4096
"""What is looked at first of what came, for the end of the head."""
MAX_CHUNKS = 100_000
MAX_INTERIM = 8
"""Answers of status 1xx that may come before the answer."""
_STATUS = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: .*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_END = re.compile(rb"\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


class NotHttpError(Exception):
    """What came is no answer that can be trusted to mean one thing."""


class CutOffError(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Head:
    """Status and fields, names in lower case, and how the body is delimited: by its length, chunks, or the connection's end."""

    status: int
    fields: tuple[tuple[str, str], ...]
    length: int | None
    chunked: bool
    keeps: bool
    """Whether the connection may be used again."""

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each == name]

    def joined(self) -> dict[str, str]:
        """One value per name; those of repeated fields in one, with commas (RFC 9110 section 5.3)."""
        found: dict[str, str] = {}
        for name, value in self.fields:
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found


def request_bytes(host: str, target: str, fields: str) -> bytes:
    """A GET request; `host` and `target` are parts of a canonical URL, `fields` whole lines."""
    text = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    if "\r" in target or "\n" in target or " " in target:
        raise ValueError("no request target")
    return text.encode("ascii")


def parse_head(data: bytes, max_line_bytes: int) -> Head:
    """The head of an answer, without the empty line that ends it. Raises NotHttpError."""
    if _FORBIDDEN.search(data):
        raise NotHttpError("control characters")
    # Lone bytes outside UTF-8 come through as U+DC80..DCFF, for a Location that is no text.
    lines = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
    if len(lines) > MAX_LINES or (len(data) > max_line_bytes and max(map(len, lines)) > max_line_bytes):
        raise NotHttpError("too long")
    found = _STATUS.fullmatch(lines[0])
    if found is None:
        raise NotHttpError("no status line")
    fields: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t"):
            if not fields:
                raise NotHttpError("folded nothing")
            fields[-1] = (fields[-1][0], f"{fields[-1][1]} {line.strip()}".strip())
        elif not colon or not _NAME.fullmatch(name):
            raise NotHttpError("no field")
        else:
            fields.append((name.strip().lower(), value.strip()))
    return _framed(int(found[2]), int(found[1]), tuple(fields))


def _framed(status: int, minor: int, fields: tuple[tuple[str, str], ...]) -> Head:
    lengths, codings, options = [], [], []
    for name, value in fields:
        if name == "content-length":
            lengths += [part.strip() for part in value.split(",")]
        elif name == "transfer-encoding":
            # "identity" is none (RFC 2616 section 3.6); servers of its time still say it.
            codings += [part for each in value.split(",") if (part := each.strip().lower()) != "identity"]
        elif name == "connection":
            options += [part.strip().lower() for part in value.split(",")]
    if codings and (codings != ["chunked"] or lengths):
        raise NotHttpError("odd transfer coding")
    if lengths and (len(set(lengths)) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0])):
        raise NotHttpError("odd length")
    length = int(lengths[0]) if lengths else None
    if status < 200 or status in (204, 304):
        length, codings = 0, []
    keeps = "close" not in options and (minor > 0 or "keep-alive" in options) and (bool(codings) or length is not None)
    return Head(status, fields, length, bool(codings), keeps)


class Answer:
    """An answer as it comes in: `feed` what was received, `end` when the connection ends.

    `wanted(head)` tells how many bytes of the body are of use. One more is read, to see that there are more; with 0 none
    is. What of an unwanted body came with the head already is passed over, so that the connection can be kept.
    """

    def __init__(self, max_line_bytes: int, wanted: Callable[[Head], int]) -> None:
        self._max_line_bytes, self._wanted = max_line_bytes, wanted
        self._buffer = bytearray()  # of the head, or an unfinished line between chunks
        self._interim = 0
        self._first, self._rest = b"", bytearray()  # of the body
        self._most = 0
        self.wants_body = False
        self._left = 0  # bytes of the body, or of this chunk, that are still to come
        self._chunks = 0
        self._trailers = 0  # lines after the last chunk, and one
        self.head: Head | None = None
        self.received = 0
        self.begun = False
        """Whether anything came at all."""
        self.reusable = False
        """Whether the next answer on this connection can be told from this one."""

    @property
    def body(self) -> bytes:
        """What was read of the body; more than `wanted` where there is more."""
        return self._first + self._rest if self._rest else self._first

    def feed(self, data: memoryview) -> bool:
        """Take what was received, by copying it; True when no more is needed. Raises NotHttpError."""
        self.begun = True
        if self.head is not None:
            return self._more(data)
        while True:
            data = self._take_head(data)
            if self.head is None:
                return False
            if self.head.status >= 200:
                break
            self._interim += 1
            if self._interim > MAX_INTERIM or self.head.status == 101:
                raise NotHttpError("no end of interim answers")
            self.head = None
            if not data:
                return False
        self._most = self._wanted(self.head)
        self.wants_body = self._most > 0
        self._left = self.head.length or 0
        if self._most == 0:
            self.reusable = self.head.keeps and not self.head.chunked and len(data) == self.head.length
            return True
        return self._more(data)

    def end(self) -> None:
        """The connection has ended. Raises CutOffError unless that is how the answer ends."""
        if self.head is None or self.head.chunked or self.head.length is not None:
            raise CutOffError

    def _take_head(self, data: memoryview) -> memoryview:
        """Fill the head; returns what comes after it."""
        buffer = self._buffer
        seen = max(0, len(buffer) - 2)
        # A head is short, what comes with it need not be: only as much is copied as a usual head may take.
        taken = 0
        for end in (min(len(data), USUAL_HEAD_BYTES), len(data)):
            buffer += data[taken:end]
            taken = end
            while not seen and buffer.startswith((b"\r", b"\n")):
                del buffer[:1]  # left over from an answer before (RFC 9112 section 2.2, the other way round)
            found = _END.search(buffer, seen)
            if found or taken == len(data):
                break
        if (found.start() if found else len(buffer)) > HEAD_LINES * self._max_line_bytes:
            raise NotHttpError("too long")
        if found is None:
            if len(buffer) >= 5 and not buffer.startswith(b"HTTP/"):
                raise NotHttpError("no status line")
            return data[:0]
        self.head = parse_head(bytes(buffer[: found.start()]).removesuffix(b"\r"), self._max_line_bytes)
        after = len(buffer) - found.end()
        buffer.clear()
        return data[taken - after :]

    def _more(self, data: memoryview) -> bool:
        assert self.head is not None
        if self.head.chunked:
            return self._chunked(bytes(data))
        if self.head.length is None:
            self._keep(data)
            return self.received > self._most
        whole = len(data) >= self._left
        self.reusable = self.head.keeps and len(data) == self._left
        self._keep(data[: self._left] if len(data) > self._left else data)
        self._left -= len(data)
        return whole or self.received > self._most

    def _keep(self, data: bytes | memoryview) -> None:
        if self.received:
            self._rest += data
        else:  # often it is all there is
            self._first = bytes(data)
        self.received += len(data)

    def _chunked(self, data: bytes) -> bool:
        """Take chunks out of their frame: a line with the length in hex, the bytes, an empty line; 0 is the last."""
        assert self.head is not None
        at = 0
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer.clear()
        while True:
            if self._left:
                part = data[at : at + self._left]
                self._keep(part)
                self._left -= len(part)
                at += len(part)
                if self._left or self.received > self._most:
                    return self.received > self._most
                self._chunks += 1
            end = data.find(b"\n", at)
            if end < 0:
                self._buffer += data[at:]
                if len(self._buffer) > self._max_line_bytes:
                    raise NotHttpError("too long")
                return False
            line = data[at:end].removesuffix(b"\r")
            at = end + 1
            if self._line(line):
                self.reusable = self.head.keeps and at == len(data)
                return True

    def _line(self, line: bytes) -> bool:
        """A line between chunks; True for the one that ends the body."""
        if self._trailers:
            self._trailers += 1
            if self._trailers > MAX_LINES:
                raise NotHttpError("too many trailers")
            return not line
        if self._chunks % 2:  # the line that ends a chunk
            if line:
                raise NotHttpError("a chunk of another length")
            self._chunks += 1
            return False
        found = _CHUNK.fullmatch(line)
        if found is None or self._chunks > 2 * MAX_CHUNKS:
            raise NotHttpError("no chunk")
        self._left = int(found[1], 16)
        self._trailers = 0 if self._left else 1
        return False
