"""What came over the wire made plain: content codings undone within a limit, encodings told, Retry-After read."""

import codecs
import re
import time
import zlib
from datetime import timezone
from email.utils import parsedate_to_datetime

PIECE_BYTES = 1 << 20


class TooLargeError(Exception):
    """The decoded body passes the limit."""


class BrokenError(Exception):
    """The body cannot be decoded; the message is evidence."""


def decoded(body: bytes, encoding: str, max_bytes: int, cut: bool = False) -> bytes:
    """Undo gzip, deflate, br and zstd: some servers send them though we ask for identity, and archives that record a
    browser hold what the browser asked for. Raises TooLargeError, BrokenError.

    Memory stays below max_bytes plus the body: a bomb is cut while it unpacks. `cut` keeps the first max_bytes of a longer
    body, and what there is of one whose end is missing.
    """
    names = [name.strip().lower() for name in encoding.split(",")]
    for name in reversed([name for name in names if name and name != "identity"]):
        if name in ("gzip", "x-gzip"):
            body = _inflated(body, 31, max_bytes, name, cut)
        elif name == "deflate":
            # "deflate" means zlib's format, but some servers send it bare.
            body = _inflated(body, 15 if body[:1] and body[0] & 0x0F == 8 else -15, max_bytes, name, cut)
        elif name in ("br", "zstd"):
            body = _unpacked(body, "brotli" if name == "br" else name, max_bytes, name, cut)
        else:
            raise BrokenError("content-encoding that was not asked for")
    return body


def _inflated(body: bytes, window: int, max_bytes: int, name: str, cut: bool) -> bytes:
    inflater = zlib.decompressobj(window)
    try:
        plain = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        raise BrokenError(f"broken {name}") from None
    if cut and plain:
        return plain[:max_bytes]
    if len(plain) > max_bytes:
        raise TooLargeError
    if not inflater.eof:
        raise BrokenError(f"broken {name}")
    return plain


def _unpacked(body: bytes, codec: str, max_bytes: int, name: str, cut: bool) -> bytes:
    """By Arrow's own decoders, which come with it; no more than max_bytes and a piece are held of what comes out."""
    import pyarrow as pa

    plain = bytearray()
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as source:
            while len(plain) <= max_bytes and (piece := source.read(min(PIECE_BYTES, max_bytes + 1 - len(plain)))):
                plain += piece
    except OSError:
        if not (cut and plain):
            raise BrokenError(f"broken {name}") from None
    if cut and plain:
        return bytes(plain[:max_bytes])
    if len(plain) > max_bytes:
        raise TooLargeError
    if not body:
        raise BrokenError(f"broken {name}")
    return bytes(plain)


def retry_after_seconds(value: str | None) -> float | None:
    """Seconds a Retry-After header asks for, as a number or a date; None where it says nothing readable."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(
            text
        )  # C's form of a date names no zone: in HTTP it is UTC (RFC 9110 section 5.6.7)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


_OTHER_WRITING = re.compile(rb"[\x80-\xff]{4}")


def text_of(data: bytes) -> str:
    """UTF-8, else Windows-1252, which browsers take for text without a name for its encoding and spreadsheets save.

    What is UTF-8 but for some damage, and other writings (many marks in a row, hardly ever met in Latin letters), get U+FFFD for
    what cannot be read.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    if _OTHER_WRITING.search(data) or not text.replace("\ufffd", "").isascii():
        return text
    return data.decode("cp1252", "replace")


def file_text(data: bytes) -> str:
    """A whole text file, with or without a byte order mark: UTF-8, UTF-16, Windows-1252."""
    name = utf16_of(data)
    return data.decode(name, "replace") if name else text_of(data.removeprefix(codecs.BOM_UTF8))


def utf16_of(head: bytes) -> str:
    """Python's name for the UTF-16 that a text begins in, by its mark or by the zeros of ASCII in it; "" for none."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not head.startswith(codecs.BOM_UTF32_LE):
        return "utf-16"
    start = head[:512]
    zeros = [start[place::2].count(0) / (len(start) // 2 or 1) for place in (0, 1)]
    if len(start) < 8 or min(zeros) > 0.2 or max(zeros) < 0.8:
        return ""
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
