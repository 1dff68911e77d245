"""The inner loops over the characters and shingles of captions, compiled (shingles.py, minhash.py)."""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np

from pipeline.compiled import compiled


@compiled
def mixed(value):
    """splitmix64's finaliser (Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
def shingle_loop(codes, bounds, size, by_word):
    """Hashes of all texts' shingles one after the other, and how many each text has. Texts begin and end with a space."""
    out = np.zeros(len(codes) + len(bounds), np.uint64)
    counts = np.zeros(len(bounds) - 1, np.int64)
    units = np.zeros(len(codes) + 1, np.uint64)
    end = 0
    for text in range(len(bounds) - 1):
        count = 0
        if by_word:
            value = np.uint64(0)
            for place in range(bounds[text] + 1, bounds[text + 1]):
                if codes[place] != 32:
                    value = mixed(value + np.uint64(codes[place]) + np.uint64(0x9E3779B97F4A7C15))
                elif codes[place - 1] != 32:
                    units[count] = value
                    count += 1
                    value = np.uint64(0)
        else:
            for place in range(bounds[text], bounds[text + 1]):
                units[count] = np.uint64(codes[place])
                count += 1
        first = end
        for start in range(max(1, count - size + 1)):
            value = np.uint64(0)
            for place in range(start, min(start + size, count)):
                value = mixed(value + units[place] + np.uint64(0x9E3779B97F4A7C15))
            out[end] = value
            end += 1
        out[first:end].sort()
        unique = first
        for place in range(first + 1, end):
            if out[place] != out[unique]:
                unique += 1
                out[unique] = out[place]
        end = unique + 1
        counts[text] = end - first
    return out, counts


@compiled
def band_key_loop(hashes, starts, multipliers, offsets, rows):
    """Multiply-shift hashing of the shingles' upper 32 bits; the inner loop is one vector instruction per 8 values."""
    size = len(multipliers)
    bands = size // rows
    keys = np.zeros((len(starts) - 1, bands), np.uint64)
    least = np.zeros(size, np.uint32)
    for text in range(len(starts) - 1):
        least[:] = np.uint32(0xFFFFFFFF)
        for place in range(starts[text], starts[text + 1]):
            value = np.uint32(hashes[place] >> np.uint64(32))
            for k in range(size):
                least[k] = min(least[k], np.uint32(np.uint32(value * multipliers[k]) + offsets[k]))
        for band in range(bands):
            key = np.uint64(band)
            for k in range(band * rows, (band + 1) * rows):
                key = mixed(key + np.uint64(least[k]) + np.uint64(0x9E3779B97F4A7C15))
            keys[text, band] = key
    return keys
