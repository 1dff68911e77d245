"""The bound of an evaluation set's embeddings: the smallest cosine at which hashes and embeddings together are precise enough.

Planted copies and distractors are those of pipeline/overlap/calibrate.py. The bound is drawn from the half that gave the
hashes' limits, what both find is told of the other half. An embedding cannot be mirrored as a hash can, so here the
set's pictures are mirrored at the diagonal and the training pictures upright: near by chance, not as copies. Training pictures
that hashes call near are left out, as they are and mirrored at the diagonal, so copies of every right-angled turn are.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.overlap.calibrate import Cosines, Trial, judge, lookup, transposed
from pipeline.overlap.embedded import cosines, exactly, with_places
from pipeline.overlap.lookup import Described, Limits

STEP = 1000
"""Bounds have three digits: an embedding is stored in 16 bits, which hold no more."""
NOTHING = 2.0
"""A cosine that no pair has."""


def with_cosines(
    trial: Trial, index: pa.Table, planted: pa.Table, decoys: pa.Table, training: pa.Table, limits: Limits
) -> Trial:
    """The trial with every copy's and distractor's largest cosines; `decoys` are the set's pictures transposed, `limits`
    the hashes'."""
    their_MD, places = with_places(index)
    numbers_M, size = trial.pictures[places], their_MD.shape[1]
    twins: dict[int, list[int]] = {}
    for one, other in trial.duplicates:
        twins.setdefault(one, []).append(other)

    def same(numbers_n: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(numbers_n[:, None] == numbers_M[None, :])

    def strange(numbers_n: NDArray[np.int64]) -> NDArray[np.bool_]:
        apart = ~same(numbers_n)
        for row, number in enumerate(numbers_n.tolist()):
            if number in twins:
                apart[row] &= ~np.isin(numbers_M, twins[number])
        return apart

    own = _largest(planted, their_MD, trial.origins, same)
    wrong = _largest(planted, their_MD, trial.origins, strange)
    of_set = _largest(index.take(pa.array(trial.own)), their_MD, trial.pictures[trial.own], strange)
    of_set[trial.twinned] = -1.0
    of_training = _largest(training, with_places(decoys, size)[0])
    long = "phash256" in training.column_names
    upright, references = Described.of(training, long), Described.of(index, long)
    for form in (upright, transposed(upright)):
        pairs = lookup(form, references, limits.radius)
        of_training[np.unique(pairs.i[limits.near(pairs)])] = -1.0
    return replace(trial, cosines=Cosines(own, wrong, np.concatenate([of_set, of_training])))


def _largest(
    rows: pa.Table,
    their_MD: NDArray[np.float32],
    numbers_N: NDArray[np.int64] | None = None,
    wanted: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
) -> NDArray[np.float64]:
    """(N,) each row's largest cosine with the references that `wanted` allows for its number; -1 where there is none."""
    found = np.full(rows.num_rows, -1.0)
    mine_ND, places = with_places(rows, their_MD.shape[1])
    if not len(their_MD):
        return found
    for start, similar_nM in cosines(mine_ND, their_MD):
        here = np.arange(start, start + len(similar_nM))
        if wanted is not None and numbers_N is not None:
            similar_nM = np.where(wanted(numbers_N[places[here]]), similar_nM, np.float32(-2))
        best = similar_nM.argmax(axis=1)
        there = similar_nM[np.arange(len(here)), best] > -2
        found[places[here[there]]] = exactly(mine_ND, here[there], their_MD, best[there])
    return found


def choose_cosine(trial: Trial, limits: Limits, wanted_precision: float) -> float:
    """The smallest cosine at which what `limits` and embeddings find has the wanted precision."""
    assert trial.cosines is not None
    by_hash, seen = judge(trial, limits), trial.cosines
    changes = max(1, len(set(trial.changes.tolist())))
    steps = np.unique(np.floor(seen.own[seen.own > 0] * STEP) / STEP)
    alarmed = np.zeros(len(seen.far), bool)
    alarmed[by_hash.alarmed] = True

    def at_least(values: NDArray[np.float64], already: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How many are found at each step by either."""
        more = np.sort(values[~already])
        return already.sum() + len(more) - np.searchsorted(more, steps, "left")

    true = at_least(seen.own, by_hash.found) / changes
    false = at_least(seen.wrong, by_hash.wrong) / changes + at_least(seen.far, alarmed)
    good = steps[true >= wanted_precision * (true + false)]
    return float(good.min(initial=NOTHING))
