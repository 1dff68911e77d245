"""An HTTP answer as it stands in an archive's record: status, headers, and the body with its codings undone.

Archives differ in what they keep: chunks may be there or already joined under the same header, gzip likewise. So a coding
is undone where the bytes show it, and otherwise the body is taken as it is.
"""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.sources.archive import headers_of
from pipeline.web.body import BrokenError, TooLargeError, decoded
from pipeline.web.directives import first_opt_out, first_value, header_directives

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})")
_CHUNK = re.compile(rb"\s*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,500})?\r?\n")
_MAX_HEAD = 1 << 17


@dataclass(frozen=True)
class Message:
    """`status` 0 where the bytes are no HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read_message(payload: bytes) -> Message:
    found = _STATUS.match(payload)
    if found is None:
        return Message(0, {}, payload)
    ends = [(place, width) for mark, width in ((b"\r\n\r\n", 4), (b"\n\n", 2))
            if (place := payload.find(mark, 0, _MAX_HEAD)) >= 0]  # fmt: skip
    if not ends:
        return Message(int(found[1]), headers_of(payload[:_MAX_HEAD]), b"")
    end, width = min(ends)
    return Message(int(found[1]), headers_of(payload[:end]), payload[end + width :])


def is_markup(body: bytes) -> bool:
    """Whether it begins as HTML does, a byte order mark aside."""
    return body.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"<"


def plain_body(message: Message, max_bytes: int, cut: bool = False) -> bytes:
    """The body without chunks and compression; what is there of one that its crawler `cut` off.

    Raises TooLargeError, BrokenError.
    """
    body = message.body
    if "chunked" in message.headers.get("transfer-encoding", "").lower():
        body = _joined(body)
    encoding = message.headers.get("content-encoding", "").split("\n")[0].strip().lower()
    if encoding in ("gzip", "x-gzip") and body[:2] != b"\x1f\x8b":
        encoding = ""
    try:
        body = decoded(body, encoding, max_bytes, cut)
    except BrokenError:
        if not is_markup(body):
            raise
    if len(body) > max_bytes:
        raise TooLargeError
    return body


def _joined(body: bytes) -> bytes:
    """The chunks put together; what does not look like a chunk is kept as it is."""
    parts: list[bytes] = []
    position = 0
    while found := _CHUNK.match(body, position):
        size = int(found[1], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[found.end() : found.end() + size])
        position = found.end() + size
    return b"".join([*parts, body[position:]])


def header_opt_out(headers: Mapping[str, str], product: str, opt_outs: Sequence[str]) -> str | None:
    """Evidence that the answer's headers withhold it from us, or None. Names of `headers` are in lower case.

    Lines of one name are parted by line ends: an agent named on one says nothing about the next.
    """
    robots = headers.get("x-robots-tag", "")
    directives = header_directives(robots.split("\n"), product, headers.get("date", "")) if robots else ()
    if first_value(headers.get("tdm-reservation", "")) == "1":
        directives = (*directives, "tdm-reservation")
    word = first_opt_out(directives, opt_outs)
    if word is None:
        return None
    name = "tdm-reservation" if word == "tdm-reservation" else "x-robots-tag"
    return f"{name}: {headers[name]}".replace("\n", ", ")[:220]
