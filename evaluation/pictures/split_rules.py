"""Splits of datasets that come without: the order of TensorFlow Datasets, and a draw of our own.

TFDS (core/shuffle.py, core/hashing.py) sorts the examples of a split by the MD5 of the split's name and the example's key,
so that "the first 60 %" of VTAB can be had without it. Where the paper's list is unpublished (openai/CLIP#45), ours is the
SHA-256 of the file's name: the same on every machine, and scattered over whatever order the names are in.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence


def tfds_order(keys: Sequence[str], split: str = "train") -> list[int]:
    """Places of `keys` in the order in which TFDS keeps the examples of its `split`."""
    return sorted(
        range(len(keys)), key=lambda at: hashlib.md5((split + keys[at]).encode(), usedforsecurity=False).digest()
    )


def cut(order: Sequence[int], sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """Consecutive runs of `order`, one per split."""
    parts, at = {}, 0
    for split, size in sizes.items():
        parts[split] = list(order[at : at + size])
        at += size
    return parts


def drawn(names: Sequence[str], labels: Sequence[str], each: Mapping[str, int | None]) -> dict[str, list[int]]:
    """So many of each class per split, in the splits' order; None takes the rest. Places stand in their first order."""
    groups: dict[str, list[int]] = {}
    for at, label in enumerate(labels):
        groups.setdefault(label, []).append(at)
    parts: dict[str, list[int]] = {split: [] for split in each}
    for group in groups.values():
        order = sorted(group, key=lambda at: hashlib.sha256(names[at].encode()).digest())
        start = 0
        for split, count in each.items():
            stop = len(order) if count is None else start + count
            parts[split] += order[start:stop]
            start = stop
    return {split: sorted(places) for split, places in parts.items()}


def shares(count: int, percents: Iterable[int]) -> list[int]:
    """Percentages of `count`, rounded down, the last taking the rest."""
    sizes = [count * percent // 100 for percent in percents]
    return [*sizes[:-1], count - sum(sizes[:-1])]
