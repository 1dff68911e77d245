"""Banding finds every pair within its radius; the twin compares all with all."""

import numpy as np
import pytest

from pipeline.descriptors import hamming
from pipeline.near import Clusters, band_values, flips, join, probe_values


@pytest.mark.parametrize(("radius", "probes"), [(0, 1), (3, 1), (4, 17), (7, 17), (8, 137), (11, 137)])
def test_the_number_of_probes_follows_from_the_radius(radius: int, probes: int) -> None:
    assert len(flips(radius)) == probes == len(set(flips(radius).tolist()))


@pytest.mark.parametrize("radius", [0, 3, 5, 7, 11])
def test_every_pair_within_the_radius_is_met(radius: int) -> None:
    random = np.random.default_rng(radius)
    hashes = random.integers(0, 2**64, 120, dtype=np.uint64)
    flipped = []
    for base in hashes[:80]:  # neighbours at every distance from 0 to 14
        for distance in range(15):
            bits = random.choice(64, distance, replace=False)
            flipped.append(base ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=np.uint64(0)))
    hashes = np.concatenate([hashes, np.array(flipped, dtype=np.uint64)])
    wanted = {
        (a, b)
        for a in range(len(hashes))
        for b in np.flatnonzero(hamming(hashes[a + 1 :], hashes[a]) <= radius) + a + 1
    }
    probes = probe_values(hashes, radius)
    i, j = join(probes.ravel(), band_values(hashes).ravel())
    a, b = i // probes.shape[1], j // 4
    close = (a < b) & (hamming(hashes[a], hashes[b]) <= radius)
    assert set(zip(a[close].tolist(), b[close].tolist(), strict=True)) == wanted
    assert len(wanted) > 80 * radius


def test_join_gives_every_equal_pair_once() -> None:
    random = np.random.default_rng(0)
    left, right = random.integers(0, 9, 50), random.integers(0, 9, 40)
    i, j = join(left, right)
    found = sorted(zip(i.tolist(), j.tolist(), strict=True))
    assert found == [(a, b) for a in range(50) for b in range(40) if left[a] == right[b]]


def test_clusters_do_not_depend_on_the_order_of_edges() -> None:
    edges = [("d", "e"), ("a", "b"), ("c", "b"), ("f", "f")]
    results = []
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        clusters = Clusters()
        for number in order:
            clusters.join(*edges[number])
        results.append({root: names for root, names in clusters.members().items() if len(names) > 1})
    assert results == [{"a": ["a", "b", "c"], "d": ["d", "e"]}] * 3
