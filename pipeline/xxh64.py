"""xxHash64 of every text in a column at once (Collet's specification of XXH64, the 64-bit little-endian form).

The same numbers as `xxhash.xxh64_intdigest`, without a Python object for each text.
"""

import numpy as np
import pyarrow as pa

from pipeline.compiled import compiled, text_buffers

P1 = np.uint64(0x9E3779B185EBCA87)
P2 = np.uint64(0xC2B2AE3D27D4EB4F)
P3 = np.uint64(0x165667B19E3779F9)
P4 = np.uint64(0x85EBCA77C2B2AE63)
P5 = np.uint64(0x27D4EB2F165667C5)


def hash_texts(texts: pa.Array | pa.ChunkedArray, seed: int = 0) -> np.ndarray:
    """uint64 hash of each text's UTF-8 bytes; a null hashes like an empty text."""
    data, offsets = text_buffers(texts)
    return np.asarray(_hash_all(data, offsets, np.uint64(seed % (1 << 64))))


def hash01(texts: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    """A number in [0, 1) from (seed, text), float64."""
    # 53 bits, as many as a float64 holds: all 64 would round up to 1.0 for the largest hashes.
    return (hash_texts(texts, seed) >> np.uint64(11)).astype(np.float64) / 2.0**53


@compiled
def _turn(value, bits):  # type: ignore[no-untyped-def]
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@compiled
def _word(data, at, size):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return value


@compiled
def _stir(lane, word):  # type: ignore[no-untyped-def]
    return _turn(lane + word * P2, 31) * P1


@compiled
def hash_bytes(data, begin, end, seed):  # type: ignore[no-untyped-def]
    """XXH64 of data[begin:end]."""
    at = begin
    if end - begin >= 32:
        a, b, c, d = seed + P1 + P2, seed + P2, seed, seed - P1
        while at + 32 <= end:
            a = _stir(a, _word(data, at, 8))
            b = _stir(b, _word(data, at + 8, 8))
            c = _stir(c, _word(data, at + 16, 8))
            d = _stir(d, _word(data, at + 24, 8))
            at += 32
        value = _turn(a, 1) + _turn(b, 7) + _turn(c, 12) + _turn(d, 18)
        for lane in (a, b, c, d):
            value = (value ^ _stir(np.uint64(0), lane)) * P1 + P4
    else:
        value = seed + P5
    value += np.uint64(end - begin)
    while at + 8 <= end:
        value = _turn(value ^ _stir(np.uint64(0), _word(data, at, 8)), 27) * P1 + P4
        at += 8
    if at + 4 <= end:
        value = _turn(value ^ (_word(data, at, 4) * P1), 23) * P2 + P3
        at += 4
    while at < end:
        value = _turn(value ^ (np.uint64(data[at]) * P5), 11) * P1
        at += 1
    value = (value ^ (value >> np.uint64(33))) * P2
    value = (value ^ (value >> np.uint64(29))) * P3
    return value ^ (value >> np.uint64(32))


@compiled
def _hash_all(data, offsets, seed):  # type: ignore[no-untyped-def]
    out = np.empty(len(offsets) - 1, np.uint64)
    for i in range(len(out)):
        out[i] = hash_bytes(data, offsets[i], offsets[i + 1], seed)
    return out
