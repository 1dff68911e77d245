"""Lines of text files, gzipped or not, in bounded memory."""

import codecs
import itertools
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.web.body import utf16_of


def lines_of(stream: BinaryIO, max_line_bytes: int = 16_000_000) -> Iterator[bytes]:
    """Lines of a file, gzip undone (several members too, as Common Crawl's cdx files have); a broken end ends them."""
    rest = b""
    for data in plain_blocks(stream):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if len(rest) > max_line_bytes:
            yield rest
            rest = b""
    if rest:
        yield rest


def plain_blocks(stream: BinaryIO, is_gzip: bool | None = None, damage: list[str] | None = None) -> Iterator[bytes]:
    """Blocks of a file with gzip undone (None: its first bytes tell); what follows damage is not read, and `damage` told."""
    damage = [] if damage is None else damage
    data = stream.read(1 << 18)
    if is_gzip is False or data[:2] != b"\x1f\x8b":
        while data:
            yield data
            data = stream.read(1 << 20)
        return
    inflater = zlib.decompressobj(31)
    while data:
        try:
            yield inflater.decompress(data, 1 << 24)
        except zlib.error:
            damage.append("damaged gzip: the rest of the file is not read")
            return
        data = inflater.unconsumed_tail
        is_whole = inflater.eof
        if is_whole:
            data = inflater.unused_data.lstrip(b"\0")  # some writers pad
            inflater = zlib.decompressobj(31)
        data = data or stream.read(1 << 18)
    if not is_whole:
        damage.append("gzip without its end")


def text_blocks(stream: BinaryIO, is_gzip: bool | None = None, damage: list[str] | None = None) -> Iterator[bytes]:
    """As `plain_blocks`, as UTF-8 where the text is UTF-16, and with \\n where lines end in \\r alone (old Macintosh)."""
    blocks = plain_blocks(stream, is_gzip, damage)
    first = next(blocks, b"")
    name = utf16_of(first) if is_gzip is None else ""  # which a file's middle does not tell
    everything: Iterator[bytes] = itertools.chain([first], blocks)
    if name:
        everything = _narrow(everything, name)
        first = next(everything, b"")
        everything = itertools.chain([first], everything)
    if is_gzip is None and _ends_in_cr(first):
        everything = (block.replace(b"\r", b"\n") for block in everything)
    yield from everything


def _narrow(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(name)("replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _ends_in_cr(head: bytes) -> bool:
    return b"\r" in head and b"\n" not in head


def is_plain(stream: BinaryIO) -> bool:
    """Whether a place in the text is that place in the file; the stream is at its start before and after."""
    head = stream.read(1 << 18)  # what text_blocks sees first
    stream.seek(0)
    return head[:2] != b"\x1f\x8b" and not utf16_of(head) and not _ends_in_cr(head)
