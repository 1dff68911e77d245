"""The compiled measures of captions: what needs repair, how much repeats, how much is neither letter nor digit.

Each takes a column's UTF-8 bytes and offsets (compiled.text_buffers) and gives a number for each text.
"""

import numpy as np

from pipeline.compiled import compiled

SPACE = np.uint8(32)
FACTOR = np.uint64(0x9E3779B97F4A7C15)


@compiled
def is_plain(data, offsets):  # type: ignore[no-untyped-def]
    """Which texts are printable ASCII with single spaces between words and no "&": repair would not change them."""
    out = np.ones(len(offsets) - 1, np.bool_)
    for i in range(len(out)):
        last = SPACE
        for at in range(offsets[i], offsets[i + 1]):
            byte = data[at]
            if byte < 32 or byte > 126 or byte == 38 or (byte == SPACE and last == SPACE):
                out[i] = False
                break
            last = byte
        if offsets[i + 1] > offsets[i] and last == SPACE:
            out[i] = False
    return out


@compiled
def is_ascii(data, offsets):  # type: ignore[no-untyped-def]
    out = np.ones(len(offsets) - 1, np.bool_)
    for i in range(len(out)):
        for at in range(offsets[i], offsets[i + 1]):
            if data[at] > 127:
                out[i] = False
                break
    return out


@compiled
def ascii_specials(data, offsets):  # type: ignore[no-untyped-def]
    """How many bytes of each text are neither ASCII letters, digits nor white space."""
    out = np.zeros(len(offsets) - 1, np.int64)
    for i in range(len(out)):
        for at in range(offsets[i], offsets[i + 1]):
            byte = data[at]
            lower = byte | 32
            out[i] += not (97 <= lower <= 122 or 48 <= byte <= 57 or byte == 32 or 9 <= byte <= 13)
    return out


@compiled
def _repeated(windows, count, table, marks, mark):  # type: ignore[no-untyped-def]
    """How many of the first `count` hashes stood before; `marks` saves clearing `table` between texts."""
    mask, again = np.uint64(len(table) - 1), 0
    for i in range(count):
        value = windows[i]
        at = (value ^ (value >> np.uint64(32))) & mask
        while marks[at] == mark and table[at] != value:
            at = (at + np.uint64(1)) & mask
        again += marks[at] == mark
        table[at], marks[at] = value, mark
    return again


@compiled
def repetition(data, offsets, size, words):  # type: ignore[no-untyped-def]
    """The share of each text's windows of `size` characters, or words, that stood in it before; 0 without any window.

    Windows are told apart by 64-bit hashes.
    """
    longest = 1
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    room = 1
    while room < 2 * longest:
        room *= 2
    units, windows = np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    table, marks = np.empty(room, np.uint64), np.zeros(room, np.int64)
    leaving = np.uint64(1)  # the factor of the unit that leaves a window
    for _ in range(size):
        leaving *= FACTOR
    out = np.zeros(len(offsets) - 1, np.float64)
    for i in range(len(out)):
        count = _cut(data, offsets[i], offsets[i + 1], units, words)
        rolling = np.uint64(0)
        for k in range(count):
            rolling = rolling * FACTOR + units[k]
            if k >= size:
                rolling -= units[k - size] * leaving
            if k >= size - 1:
                windows[k - size + 1] = rolling
        if count >= size:
            out[i] = _repeated(windows, count - size + 1, table, marks, i + 1) / (count - size + 1)
    return out


@compiled
def _cut(data, begin, end, units, words):  # type: ignore[no-untyped-def]
    """Hashes of a text's characters, or of its words between single spaces; returns how many."""
    count, value = 0, np.uint64(0)
    for at in range(begin, end):
        byte = data[at]
        if words:
            ends = byte == SPACE
            if not ends:
                value = (value + np.uint64(byte) + np.uint64(1)) * FACTOR
        else:
            ends = at > begin and (byte & 0xC0) != 0x80
        if ends:
            units[count] = value ^ (value >> np.uint64(29))
            count += 1
            value = np.uint64(0)
        if not words:
            value = (value + np.uint64(byte) + np.uint64(1)) * FACTOR
    if end > begin:
        units[count] = value ^ (value >> np.uint64(29))
        count += 1
    return count
