"""The inner loop of hamming.py: every pair of hashes of one partition, and what is done with it. Compiled."""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np

from pipeline.duplicates.compiled import compiled, ones, root_of, unite

MARK, COUNT, LIST, UNITE, NEAREST = 0, 1, 2, 3, 4


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
