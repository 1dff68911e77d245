"""MinHash signatures and their bands: captions that share most shingles meet, whatever their order in the pool.

Broder 1997 for the signature, Indyk and Motwani 1998 for the bands: two sets of similarity s agree in one MinHash value
with probability s, so they meet in at least one of `bands` bands of `rows` values with probability 1 - (1 - s^rows)^bands.
"""

import numpy as np

from pipeline.duplicates.loops import link_loop
from pipeline.duplicates.shingle_loops import band_key_loop
from pipeline.duplicates.shingles import Shingled


def recall(similarity: float, bands: int, rows: int) -> float:
    """The probability that two captions of that Jaccard similarity are compared."""
    return float(1 - (1 - similarity**rows) ** bands)


def band_keys(texts: Shingled, bands: int, rows: int) -> np.ndarray:
    """(N, bands) int64: texts with an equal key in a column agree in `rows` MinHash values there."""
    draw = np.random.Generator(np.random.PCG64(20_210_305))  # a fixed stream: keys are the same in every process
    multipliers = draw.integers(0, 1 << 32, bands * rows, dtype=np.uint32) | np.uint32(1)
    offsets = draw.integers(0, 1 << 32, bands * rows, dtype=np.uint32)
    return np.asarray(band_key_loop(texts.hashes, texts.starts, multipliers, offsets, rows)).view(np.int64)


def link(texts: Shingled, text_of: np.ndarray, groups: np.ndarray, nodes: np.ndarray, jaccard: float) -> np.ndarray:
    """(E, 2) nodes, at most nodes - 1 edges: those that connect what near captions within a group connect.

    text_of (M,): the text of each node; groups, nodes (G,): which node lies in which group, any order.
    """
    sizes = np.diff(texts.starts)[text_of[nodes]]
    order = np.lexsort((nodes, sizes, groups))
    groups, nodes = groups[order], nodes[order]
    bounds = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1], [True]]))
    found = np.zeros((max(1, len(text_of)), 2), np.int64)
    count = link_loop(bounds, nodes, text_of, texts.hashes, texts.starts, texts.numbers, texts.is_short, jaccard,
                  np.arange(len(text_of)), found)  # fmt: skip
    return found[:count]
