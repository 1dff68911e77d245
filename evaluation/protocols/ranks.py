"""Image-text retrieval: recall at K, both ways (Karpathy and Fei-Fei 2015, arXiv:1412.2306; CLIP's table 13).

A query is a hit if any of its matching items is among the K nearest. Pictures match every text equal to their caption,
so texts are made distinct first: equal captions would tie, and which of them came first would be chance.
N = pictures, M = distinct texts, D = embedding width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.protocols.zero_shot_classifier import Rows, unit

DEPTHS = (1, 5, 10)
CHUNK_QUERIES = 1024


def first_match_ranks(
    queries_QD: Rows, items_ID: Rows, query_groups_Q: NDArray[np.int64], item_groups_I: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each query the number of items nearer than its nearest match; 0 = the match is first, shape (Q,).

    An item matches when it is of the query's group. Items as near as the match count as nearer, so a model that gives
    everything the same embedding scores nothing. Memory is CHUNK_QUERIES x items, never queries x items.
    """
    queries_QD, items_ID = unit(np.asarray(queries_QD)), unit(np.asarray(items_ID))
    ranks = [np.zeros(0, np.int64)]
    for start in range(0, len(queries_QD), CHUNK_QUERIES):
        chunk = slice(start, start + CHUNK_QUERIES)
        near_QI = queries_QD[chunk] @ items_ID.T
        match_QI = query_groups_Q[chunk, None] == item_groups_I[None, :]
        best_Q1 = np.where(match_QI, near_QI, -np.inf).max(axis=1, keepdims=True)
        ranks.append(((near_QI >= best_Q1) & ~match_QI).sum(axis=1))
    return np.concatenate(ranks)


def group_captions(captions: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct captions in sorted order, and for each picture the position of its own among them."""
    texts = sorted(set(captions))
    place = {text: position for position, text in enumerate(texts)}
    return texts, np.array([place[caption] for caption in captions], np.int64)
