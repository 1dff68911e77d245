"""Banding finds every pair within its radius, each once, however the hashes are cut; the twins compare all with all."""

import numpy as np
import pytest
from pools import thumbnails_fit

from pipeline.duplicates.clusters import components
from pipeline.duplicates.hamming import (
    BANDS,
    COUNT,
    LIST,
    MARK,
    UNITE,
    flips,
    near_pairs,
    nearest,
    partitions,
    search,
)  # fmt: skip
from pipeline.duplicates.looks import Looks
from pipeline.pictures.descriptors import hamming

Pairs = set[tuple[int, int]]


def planted(seed: int, bases: int, farthest: int) -> np.ndarray:
    """Random hashes, and for each a neighbour at every distance from 0 to `farthest`, shuffled."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, bases, dtype=np.uint64)
    near = []
    for base in hashes:
        for distance in range(farthest + 1):
            bits = random.choice(64, distance, replace=False).astype(np.uint64)
            near.append(base ^ np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0)))
    return random.permutation(np.concatenate([hashes, np.array(near, dtype=np.uint64)]))


def all_pairs(hashes: np.ndarray, radius: int) -> Pairs:
    return {
        (a, b)
        for a in range(len(hashes))
        for b in (np.flatnonzero(hamming(hashes[a + 1 :], hashes[a : a + 1]) <= radius) + a + 1).tolist()
    }


@pytest.mark.parametrize(("radius", "probes"), [(0, 1), (3, 1), (4, 17), (7, 17), (8, 137), (11, 137), (15, 697)])
def test_the_number_of_probes_follows_from_the_radius(radius: int, probes: int) -> None:
    masks = flips(16, radius // BANDS)
    assert len(masks) == probes == len(set(masks.tolist()))


@pytest.mark.parametrize("radius", [*range(12), 15])
def test_every_pair_within_the_radius_is_found_once(radius: int) -> None:
    hashes = planted(radius, 40, radius + 1)
    found = [tuple(pair) for pair in near_pairs(hashes, radius).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == all_pairs(hashes, radius)
    assert len(found) >= 40 * (radius + 1)


@pytest.mark.parametrize("high_bits", [0, 1, 3, 6])
@pytest.mark.parametrize("radius", [0, 3, 5, 7, 9])
def test_partitions_lose_no_pair_and_find_none_twice(radius: int, high_bits: int) -> None:
    hashes = planted(100 + radius, 40, radius + 1)
    place, key, home = partitions(hashes, radius, high_bits)
    assert home.sum() == BANDS * len(hashes)
    found: list[tuple[int, int]] = []
    marked = np.zeros(len(hashes), bool)
    for partition in np.unique(key).tolist():
        here = key == partition
        rows = place[here]
        pairs = rows[search(hashes[rows], home[here], partition, high_bits, radius, LIST)]
        assert search(hashes[rows], home[here], partition, high_bits, radius, COUNT)[0] == len(pairs)
        marked[rows[search(hashes[rows], home[here], partition, high_bits, radius, MARK)]] = True
        found += [tuple(sorted(pair)) for pair in pairs.tolist()]
    assert sorted(found) == sorted(all_pairs(hashes, radius))
    assert set(np.flatnonzero(marked).tolist()) == {row for pair in found for row in pair}


def looks(count: int, random: np.random.Generator, fitted: bool = False) -> Looks:
    """A few thumbnails and long hashes that agree or do not; some rows lack one, some both."""
    return Looks(
        (random.integers(0, 3, (count, 1)) * 9 + random.integers(0, 3, (count, 192))).astype(np.uint8),
        random.random(count) < 0.8,
        random.integers(0, 2, (count, 1), dtype=np.uint64) * np.uint64(0xFFFFFF) + np.zeros((1, 4), np.uint64),
        random.random(count) < 0.7,
        fitted,
        100.0 * 192,
        8.0,
        60,
        2,
    )


def alike(a: int, b: int, bits: int, seen: Looks) -> bool:
    """The slow, obvious rule."""
    verdicts = []
    if seen.has_longer[a] and seen.has_longer[b]:
        verdicts.append(int(hamming(seen.longer[a], seen.longer[b]).sum()) <= seen.longer_radius)
    if seen.has_thumbnail[a] and seen.has_thumbnail[b]:
        if seen.fitted and len(verdicts):
            verdicts.append(thumbnails_fit(seen.thumbnails[a].tobytes(), seen.thumbnails[b].tobytes()))
        else:
            squares = (seen.thumbnails[a].astype(int) - seen.thumbnails[b].astype(int)) ** 2
            verdicts.append(int(squares.sum()) <= seen.largest_squares)
    return all(verdicts) if verdicts else bits <= seen.bare_radius


def bits_of(hashes: np.ndarray, a: int, b: int) -> int:
    return int(hashes[a] ^ hashes[b]).bit_count()


@pytest.mark.parametrize(("radius", "fitted"), [(3, False), (7, False), (7, True)])
def test_what_is_united_is_what_verified_pairs_connect(radius: int, fitted: bool) -> None:
    hashes = planted(7, 60, radius + 1)
    seen = looks(len(hashes), np.random.default_rng(radius), fitted)
    home = np.ones(len(hashes), bool)
    parts = [search(hashes, home, band, 0, radius, UNITE, seen) for band in range(BANDS)]
    assert all(len(part) < len(hashes) for part in parts)
    verified = [pair for pair in sorted(all_pairs(hashes, radius)) if alike(*pair, bits_of(hashes, *pair), seen)]
    wanted = components(np.array(verified))
    found = components(np.concatenate(parts))
    assert [each.tolist() for each in found] == [each.tolist() for each in wanted]
    assert 10 < len(verified) < len(all_pairs(hashes, radius))


@pytest.mark.parametrize("high_bits", [0, 2])
def test_the_nearest_of_the_others_is_the_nearest(high_bits: int) -> None:
    radius = 7
    hashes = planted(9, 50, radius)
    random = np.random.default_rng(1)
    seen, ours, rank = looks(len(hashes), random), random.random(len(hashes)) < 0.5, random.permutation(len(hashes))
    place, key, home = partitions(hashes, radius, high_bits)
    best: dict[int, tuple[int, int, int]] = {}

    def score(a: int, b: int) -> int:
        both = bool(seen.has_longer[a] and seen.has_longer[b])
        return bits_of(hashes, a, b) * 512 + (int(hamming(seen.longer[a], seen.longer[b]).sum()) if both else 0)

    for partition in np.unique(key).tolist():
        here = key == partition
        rows = place[here]
        found = nearest(hashes[rows], home[here], partition, high_bits, radius, seen.take(rows), ours[rows], rank[rows])
        for a, b in ((int(rows[i]), int(rows[j])) for i, j in enumerate(found.tolist()) if j >= 0):
            best[a] = min(best.get(a, (10**9, 0, 0)), (score(a, b), int(rank[b]), b))
    wanted: dict[int, tuple[int, int, int]] = {}
    for pair in all_pairs(hashes, radius):
        for a, b in (pair, pair[::-1]):
            if ours[a] and not ours[b] and alike(a, b, bits_of(hashes, a, b), seen):
                wanted[a] = min(wanted.get(a, (10**9, 0, 0)), (score(a, b), int(rank[b]), b))
    assert best == wanted
    assert len(wanted) > 20


def test_components_depend_on_the_edges_only() -> None:
    edges = np.array([(13, 14), (10, 11), (12, 11), (15, 15), (10, 11)])
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3, 4, 1]):
        for turned in (edges[order], edges[order][:, ::-1]):
            members, roots = components(turned)
            assert members.tolist() == [10, 11, 12, 13, 14, 15]
            assert roots.tolist() == [10, 10, 10, 13, 13, 15]
