"""The inner loops of deduplication, compiled: over pairs of hashes (hamming.py), characters, shingles and pairs of captions
(shingles.py, minhash.py).

One file, because kept machine code is looked up by its own file's date (pipeline/compiled.py). The union-find is the idempotent
one: a root is the smallest member, so the result depends on the edges alone.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np

from pipeline.compiled import compiled

MARK, COUNT, LIST, UNITE, NEAREST = 0, 1, 2, 3, 4


@compiled
def root_of(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def unite(parent, i, j):
    """Join the sets of i and j; False where they are one already."""
    a, b = root_of(parent, i), root_of(parent, j)
    if a == b:
        return False
    if a < b:
        parent[b] = a
    else:
        parent[a] = b
    return True


@compiled
def ones(x):
    """Number of set bits of a uint64 (the compiler knows this form and makes one instruction of it)."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def search_loop(
    hashes, low, starts, masks, ends, spent, place, mode, marks, found, parent, ours, rank,
    thumbnails, has_thumbnail, longer, has_longer, limits,
):  # fmt: skip
    band, radius, residents, most = place
    verify = len(has_thumbnail) > 0
    count = 0
    for i in range(len(hashes)):
        resident = i < residents
        own = low[i]
        for probe in range(ends[most if resident else most - spent[i - residents]]):
            value = own ^ masks[probe]
            if resident and value < own:
                continue  # met from the other side
            first = i + 1 if resident and value == own else starts[value]
            for j in range(first, starts[value + 1]):
                different = hashes[i] ^ hashes[j]
                bits = ones(different)
                if bits > radius or _met_before(different, band, most):
                    continue
                if mode == UNITE and root_of(parent, i) == root_of(parent, j):
                    continue
                if mode == NEAREST and ours[i] == ours[j]:
                    continue
                score = bits
                if verify:
                    score = _distance(i, j, bits, thumbnails, has_thumbnail, longer, has_longer, limits)
                    if score < 0:
                        continue
                if mode == MARK:
                    marks[i] = True
                    marks[j] = True
                elif mode in (LIST, UNITE):
                    found[count, 0] = i
                    found[count, 1] = j
                    if mode == UNITE:
                        unite(parent, i, j)
                elif mode == NEAREST:
                    mine, other = (i, j) if ours[i] else (j, i)
                    known = found[mine, 1]
                    if known < 0 or score < known or (score == known and rank[other] < rank[found[mine, 0]]):
                        found[mine, 0] = other
                        found[mine, 1] = score
                count += 1
    return count


@compiled
def _met_before(different, band, most):
    for earlier in range(band):  # noqa: SIM110 (compiled)
        if ones((different >> np.uint64(earlier * 16)) & np.uint64(0xFFFF)) <= most:
            return True
    return False


@compiled
def _distance(i, j, bits, thumbnails, has_thumbnail, longer, has_longer, limits):
    """Differing bits, those of the 64-bit hash first, or -1 where a descriptor that both have says that they differ.

    Without a further descriptor the hashes must be within the bare radius.
    """
    largest_squares, longer_radius, bare_radius = limits
    bare, distance = True, np.int64(0)
    if has_longer[i] and has_longer[j]:
        bare = False
        for word in range(4):
            distance += ones(longer[i, word] ^ longer[j, word])
        if distance > longer_radius:
            return -1
    if has_thumbnail[i] and has_thumbnail[j]:
        bare = False
        squares = np.int64(0)
        for place in range(192):
            step = np.int64(thumbnails[i, place]) - np.int64(thumbnails[j, place])
            squares += step * step
        if squares > largest_squares:
            return -1
    if bare and bits > bare_radius:
        return -1
    return bits * 512 + distance


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
def jaccard_of(hashes, starts, i, j):
    a, b, a_end, b_end = starts[i], starts[j], starts[i + 1], starts[j + 1]
    total, common = (a_end - a) + (b_end - b), 0
    while a < a_end and b < b_end:
        if hashes[a] == hashes[b]:
            common += 1
            a += 1
            b += 1
        elif hashes[a] < hashes[b]:
            a += 1
        else:
            b += 1
    return common / (total - common)


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


@compiled
def link_loop(bounds, nodes, text_of, hashes, starts, numbers, is_short, jaccard, parent, found):
    count = 0
    for group in range(len(bounds) - 1):
        for a in range(bounds[group], bounds[group + 1]):
            i = text_of[nodes[a]]
            if is_short[i]:
                continue
            size = starts[i + 1] - starts[i]
            for b in range(a + 1, bounds[group + 1]):
                j = text_of[nodes[b]]
                if size < jaccard * (starts[j + 1] - starts[j]) - 1e-9:
                    break  # sizes ascend: no later one can be near
                if is_short[j] or numbers[i] != numbers[j]:
                    continue
                if root_of(parent, nodes[a]) == root_of(parent, nodes[b]):
                    continue
                if jaccard_of(hashes, starts, i, j) >= jaccard:
                    unite(parent, nodes[a], nodes[b])
                    found[count, 0] = nodes[a]
                    found[count, 1] = nodes[b]
                    count += 1
    return count
