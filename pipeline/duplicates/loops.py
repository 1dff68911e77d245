"""The inner loops of deduplication over pairs, compiled: of hashes and thumbnails (hamming.py, looks.py), of captions
(shingles.py, minhash.py).

One file, because kept machine code is looked up by its own file's date (pipeline/compiled.py). The union-find is the idempotent
one: a root is the smallest member, so the result depends on the edges alone.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np

from pipeline.compiled import compiled

MARK, COUNT, LIST, UNITE, NEAREST = 0, 1, 2, 3, 4
CONTRAST, CORRELATION, GAIN, SAME_LIGHT = 4.0, 0.9, 1.45, 6.0
SATURATION, COLOUR_SHARE, SAME_COLOUR, GREY = 1.25, 0.5, 4.0, 3.0
"""Limits of `fit`: see pipeline/duplicates/looks.py."""


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
    verify, two_sides = len(has_thumbnail) > 0, len(ours) > 0
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
                if two_sides and ours[i] == ours[j]:
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

    Without a further descriptor the hashes must be within the bare radius. Lighting is fitted away only where the longer
    hashes have said that the shapes agree.
    """
    fitted, largest_squares, colour_distance, longer_radius, bare_radius = limits
    both_longer, distance = has_longer[i] and has_longer[j], np.int64(0)
    both_thumbnails = has_thumbnail[i] and has_thumbnail[j]
    if both_longer:
        for word in range(4):
            distance += ones(longer[i, word] ^ longer[j, word])
        if distance > longer_radius:
            return -1
    if both_thumbnails:
        if fitted and both_longer:
            if not _fit_anywhere(thumbnails[i], thumbnails[j], colour_distance):
                return -1
        elif _squares(thumbnails[i], thumbnails[j]) > largest_squares:
            return -1
    elif not both_longer and bits > bare_radius:
        return -1
    return bits * 512 + distance


@compiled
def _squares(a, b):
    total = np.int64(0)
    for place in range(192):
        step = np.int64(a[place]) - np.int64(b[place])
        total += step * step
    return total


@compiled
def sums_of(a, b):
    """(5, 8) int64 over the cells of two thumbnails (192,), RGB: of all 64, of the top, bottom, left and right 8.

    Y is the luminance in thousandths, K a colour less its Y: sums of Ya, Yb, YaYa, YbYb, YaYb, KaKa, KbKb, KaKb. In whole
    numbers, so that no order of summation matters.
    """
    sums, cell = np.zeros((5, 8), np.int64), np.zeros(8, np.int64)
    for row in range(8):
        for column in range(8):
            at = (row * 8 + column) * 3
            ya = 299 * np.int64(a[at]) + 587 * np.int64(a[at + 1]) + 114 * np.int64(a[at + 2])
            yb = 299 * np.int64(b[at]) + 587 * np.int64(b[at + 1]) + 114 * np.int64(b[at + 2])
            cell[0], cell[1], cell[2], cell[3], cell[4] = ya, yb, ya * ya, yb * yb, ya * yb
            cell[5:] = 0
            for colour in range(3):
                ka, kb = 1000 * np.int64(a[at + colour]) - ya, 1000 * np.int64(b[at + colour]) - yb
                cell[5] += ka * ka
                cell[6] += kb * kb
                cell[7] += ka * kb
            sums[0] += cell
            if row in (0, 7):
                sums[1 + row // 7] += cell
            if column in (0, 7):
                sums[3 + column // 7] += cell
    return sums


@compiled
def _fit_anywhere(a, b, colour_distance):
    """Whether two thumbnails fit, as they are or without one of the four edges, where bars and marks are laid over."""
    sums = sums_of(a, b)
    if fit(64, sums[0], colour_distance)[0]:
        return True
    for edge in range(1, 5):  # noqa: SIM110 (compiled)
        if fit(56, sums[0] - sums[edge], colour_distance)[0]:
            return True
    return False


@compiled
def fit(cells, sums, colour_distance):
    """(agree, gain, distance of colours) of two thumbnails by their sums (8,): pipeline/duplicates/looks.py says the rule."""
    scale = 1e6 * cells
    variances = np.zeros(2)
    for side in range(2):
        variances[side] = (cells * sums[2 + side] - sums[side] * sums[side]) / (scale * cells) + 1.0
    covariance = (cells * sums[4] - sums[0] * sums[1]) / (scale * cells)
    raw = (sums[2] + sums[3] - 2 * sums[4]) / scale
    colour_a, colour_b, common = sums[5] / (3 * scale), sums[6] / (3 * scale), sums[7] / (3 * scale)
    low, high = variances[0], variances[1]
    if high < low or (high == low and colour_b < colour_a):  # the same numbers whichever comes first
        low, high, colour_a, colour_b = high, low, colour_b, colour_a
    gain = high / low
    structured = low >= CONTRAST**2 and covariance >= CORRELATION * np.sqrt(low * high) and gain <= GAIN**2
    if not structured:
        gain = 1.0
        if raw > SAME_LIGHT**2:
            return False, gain, 0.0
    ratio = min(max((colour_b + 1.0) / (colour_a + 1.0), gain / SATURATION**2), gain * SATURATION**2)
    ratio = np.sqrt(ratio)
    distance = colour_a * ratio + colour_b / ratio - 2 * common
    most = max(colour_a * ratio, colour_b / ratio)
    limit = min(max(COLOUR_SHARE * np.sqrt(most), SAME_COLOUR), colour_distance)
    grey_copy = min(colour_a, colour_b) <= GREY**2 and raw <= SAME_LIGHT**2
    distance = np.sqrt(max(distance, 0.0))
    return distance <= limit or grey_copy, np.sqrt(gain), distance


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
