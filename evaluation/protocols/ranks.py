"""Image-text retrieval: the rank of each query's nearest match (Karpathy and Fei-Fei 2015, arXiv:1412.2306; CLIP's table 13).

A query is a hit at K if any of its matching items is among the K nearest. A picture has one or several captions; pictures and
texts match where one has the other. Q = queries, I = items, P = matching pairs, D = embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.models.directions import unit
from evaluation.protocols.zero_shot_classifier import Rows

DEPTHS = (1, 5, 10)
BEST = 5
CHUNK_COSINES = 1 << 20


@dataclass(frozen=True)
class Matches:
    """The pairs (query, item) that belong together, both of shape (P,), in order of the queries."""

    queries: NDArray[np.int64]
    items: NDArray[np.int64]

    def turned(self) -> "Matches":
        """The same pairs asked the other way."""
        order = np.lexsort((self.queries, self.items))
        return Matches(self.items[order], self.queries[order])


@dataclass(frozen=True)
class Ranks:
    """Per query: `first` (Q,) items nearer than its nearest match, 0 = a match is first; `nearest` (Q, <= BEST) items, the
    nearest first; `margin` (Q,) cosine of the nearest match minus that of the nearest other item."""

    first: NDArray[np.int64]
    nearest: NDArray[np.int64]
    margin: NDArray[np.float32]


def match_ranks(queries_QD: Rows, items_ID: Rows, matches: Matches) -> Ranks:
    """Every query must have a match. Items as near as the match count as nearer, so a model that gives everything the same
    embedding scores nothing. One matrix product in chunks of queries: memory is CHUNK_COSINES, never queries x items."""
    queries_QD, items_ID = unit(np.asarray(queries_QD)), unit(np.asarray(items_ID))
    count, kept = len(queries_QD), min(BEST, len(items_ID))
    step = max(1, CHUNK_COSINES // len(items_ID))
    first, nearest, margin = np.zeros(count, np.int64), np.zeros((count, kept), np.int64), np.zeros(count, np.float32)
    starts_Q = np.searchsorted(matches.queries, np.arange(count + 1))
    for start in range(0, count, step):
        stop = min(start + step, count)
        near_QI = queries_QD[start:stop] @ items_ID.T
        pairs = slice(starts_Q[start], starts_Q[stop])
        rows_P, items_P = matches.queries[pairs] - start, matches.items[pairs]
        best_Q = np.maximum.reduceat(near_QI[rows_P, items_P], starts_Q[start:stop] - starts_Q[start])
        nearest[start:stop] = largest(near_QI, kept)
        near_QI[rows_P, items_P] = -np.inf
        first[start:stop] = np.count_nonzero(near_QI >= best_Q[:, None], axis=1)
        others_Q = near_QI.max(axis=1)
        margin[start:stop] = np.where(np.isfinite(others_Q), best_Q - others_Q, best_Q)
    return Ranks(first, nearest, margin)


def largest(near_QI: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Positions of the `count` largest of each row, falling; of equal ones among them the lower position first."""
    if count < near_QI.shape[1]:
        found_QK = np.sort(np.argpartition(-near_QI, count - 1, axis=1)[:, :count], axis=1)
    else:
        found_QK = np.broadcast_to(np.arange(count), (len(near_QI), count))
    order_QK = np.argsort(-np.take_along_axis(near_QI, found_QK, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found_QK, order_QK, axis=1)


def captions_and_matches(column: Sequence[str | Sequence[str]], merge: bool = True) -> tuple[list[str], Matches]:
    """The texts and which picture has which. Merged, equal captions are one text, in sorted order; else each caption is a text
    of its own picture, in the pictures' order. A blank one is none."""
    captions = [tuple(filter(str.strip, (each,) if isinstance(each, str) else each)) for each in column]
    if not merge:
        texts = [text for own in captions for text in own]
        pictures = np.repeat(np.arange(len(captions)), [len(own) for own in captions])
        return texts, Matches(pictures, np.arange(len(texts)))
    texts = sorted({text for own in captions for text in own})
    place = {text: position for position, text in enumerate(texts)}
    pairs = sorted({(picture, place[text]) for picture, own in enumerate(captions) for text in own})
    return texts, Matches(*np.array(pairs, np.int64).reshape(-1, 2).T)
