"""The values of one JSON array, or of JSON objects that stand one after the other, cut out of a stream of any size.

A value ends where its brackets close, so a broken one costs itself: what is in it is for the JSON parser to judge. Words
between values are values that nobody can use. Memory: the longest value, 16 MB at most.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

MAX_VALUE = 16_000_000
TOO_LONG = b"a value of more than 16 MB: the rest of the file is not read"
_IDLE = b" \t\r\n,]\xef\xbb\xbf"
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)


def loaded(text: bytes | str) -> Any:
    """One JSON value, as Python's own json writes it, too: with NaN, which numbers of pandas hold, and halves of surrogate
    pairs. Raises ValueError."""
    try:
        return orjson.loads(text)
    except ValueError:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("nested too deep") from None


def json_values(blocks: Iterator[bytes], at: int = 0) -> Iterator[tuple[int, bytes]]:
    """(place, bytes) of each value; `at` is the place of the first byte. Brackets around all values are no value, which
    `blocks` begins after."""
    data, scanned, depth = b"", 0, 0
    start, gap = 0, 0  # of the value that is open, and of what stands after the last
    for block in itertools.chain(blocks, [None]):
        data += block or b""
        while token := _TOKEN.search(data, scanned):
            mark = token[0]
            if mark == b'"':  # its end is to come
                scanned = token.start()
                break
            scanned = token.end()
            if mark in (b"{", b"["):
                if depth == 0:
                    yield from _between(data[gap : token.start()], at + gap)
                    start = token.start()
                depth += 1
            elif mark in (b"}", b"]") and depth > 0:
                depth -= 1
                if depth == 0:
                    yield at + start, data[start:scanned]
                    gap = scanned
        else:
            scanned = len(data)
        done = start if depth else gap
        if block is None:
            if depth:
                yield at + start, data[start:]
            else:
                yield from _between(data[gap:], at + gap)
        elif len(data) - done > MAX_VALUE:
            yield at + done, TOO_LONG
            return
        data, at, scanned = data[done:], at + done, scanned - done
        start = gap = 0


def _between(words: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    begun = words.lstrip(_IDLE)
    if begun:
        yield at + len(words) - len(begun), begun.rstrip(_IDLE)
