"""Draws, closed form, neighbours and the rows behind them, each against its slow twin."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors

from evaluation.probe.config import ProbeConfig
from evaluation.probe.few_shot import draw, few_shot
from evaluation.probe.least_squares import ridges, standardised
from evaluation.probe.neighbours import nearest, votes
from evaluation.probe.rows import View, check_finite
from pipeline.errors import ConfigError, DataError

RANDOM = np.random.default_rng(0)
LABELS = np.arange(120) % 4
ROWS = (RANDOM.normal(size=(4, 30))[LABELS] + RANDOM.normal(size=(120, 30)) + 2).astype(np.float32)


def accuracy(right: np.ndarray, scores: np.ndarray) -> float:
    return float((right == scores.argmax(axis=1)).mean())


def test_more_shots_only_add_pictures_and_none_is_learned_and_chosen_by() -> None:
    before: set[int] = set()
    for shots in (1, 2, 4, 8, 16):
        drawn = draw(LABELS, shots, seed=1)
        assert np.bincount(LABELS[drawn.learn]).tolist() == [shots] * 4
        assert np.bincount(LABELS[drawn.choose]).tolist() == [min(shots, 4)] * 4
        assert not set(drawn.learn) & set(drawn.choose)
        assert before <= set(drawn.learn)
        before = set(drawn.learn)
    assert set(draw(LABELS, 2, 2).learn) != set(draw(LABELS, 2, 1).learn)
    few = draw(np.array([0, 0, 0, 1]), 16, seed=1)
    assert sorted([*few.learn, *few.choose]) == [0, 1, 2, 3]
    assert len(few.choose) == 1
    assert len(draw(np.array([0, 0, 0, 1]), 16, 1, validation=0).learn) == 4


def test_all_seeds_at_once_give_what_each_gives_alone() -> None:
    for found in few_shot(ROWS, LABELS, ROWS, 4, (1, 2, 3), accuracy):
        drawn = draw(LABELS, 4, found.seed)
        x, y = ROWS[drawn.learn].astype(np.float64), LABELS[drawn.learn]
        slow = LogisticRegression(C=1 / found.fit.penalty, max_iter=9000, tol=1e-10).fit(x, y)
        assert (found.scores.argmax(axis=1) == slow.predict(ROWS.astype(np.float64))).mean() > 0.99
        assert found.validation == accuracy(LABELS[drawn.choose], found.scores[drawn.choose])


def test_near_a_good_anchor_few_pictures_do_no_harm() -> None:
    centres = np.stack([ROWS[c == LABELS].mean(axis=0) for c in range(4)]).astype(np.float64)
    anchor = (centres - centres.mean(axis=0)).T
    alone, anchored = (
        np.mean([accuracy(LABELS, each.scores) for each in few_shot(ROWS, LABELS, ROWS, 1, (1, 2, 3), accuracy, given)])
        for given in (None, anchor)
    )
    assert anchored > alone


@pytest.mark.parametrize("count", [20, 120])
def test_closed_form_is_scikit_learns_ridge_by_rows_and_by_features(count: int) -> None:
    rows, labels = ROWS[:count], LABELS[:count]
    penalties = (1.0, 1024.0)
    inputs = standardised(rows, rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64))
    targets = np.where(labels[:, None] == np.arange(4), 1.0, -1.0)
    for penalty, fast in zip(penalties, ridges(rows, labels, 4, penalties), strict=True):
        slow = Ridge(alpha=penalty, fit_intercept=False, solver="cholesky").fit(inputs, targets)
        np.testing.assert_allclose(fast.weights, slow.coef_.T, atol=1e-10)
        np.testing.assert_allclose(
            fast.scores(ROWS), slow.predict(standardised(ROWS, fast.mean, fast.deviation)), atol=1e-10
        )


def test_the_mode_sklearn_fits_few_pictures_as_scikit_learn_does() -> None:
    found = few_shot(ROWS, LABELS, ROWS, 8, (1, 2), accuracy, mode="sklearn")
    for shot in found:
        drawn = draw(LABELS, 8, shot.seed)
        slow = LogisticRegression(C=1 / shot.fit.penalty, max_iter=1000).fit(ROWS[drawn.learn], LABELS[drawn.learn])
        assert shot.fit.steps == slow.n_iter_.max()
        np.testing.assert_allclose(shot.fit.weights, slow.coef_.T, atol=1e-7)
    with pytest.raises(ConfigError, match=r"^evaluate.probe.anchors: scikit-learn has no penalty"):
        ProbeConfig(mode="sklearn", anchors=("zero_shot",))
    assert ProbeConfig(mode="sklearn").mode == "sklearn"


def test_neighbours_and_votes_are_those_of_a_full_sort() -> None:
    asked = RANDOM.normal(size=(50, 30)) + 2
    slow = NearestNeighbors(n_neighbors=100, metric="cosine", algorithm="brute").fit(ROWS.astype(np.float64))
    distance, where = slow.kneighbors(asked)
    for stored_rows in (16384, 37):
        similar, found = nearest(ROWS, asked, 100, stored_rows=stored_rows)
        assert (found == where).all()
        np.testing.assert_allclose(similar, 1 - distance, atol=1e-12)
    shares = votes(similar, LABELS[found], 4, (10, 20, 100), 0.07)
    for count, share in shares.items():
        weights = np.exp((1 - distance[:, :count]) / 0.07)
        for picture in range(50):
            plain = np.bincount(LABELS[where[picture, :count]], weights[picture], minlength=4)
            assert share[picture].argmax() == plain.argmax()
            np.testing.assert_allclose(share[picture], plain / plain.sum(), atol=1e-12)


def test_of_equal_neighbours_those_in_front_vote_however_the_rows_are_cut() -> None:
    random = np.random.default_rng(3)
    # Axes and their negatives: cosines are exact, and each is had by many rows.
    stored = np.eye(6)[random.integers(6, size=90)] * random.choice([-1.0, 1.0], (90, 1))
    asked = np.eye(6)
    for count in (1, 4, 20, 60):
        wanted = np.argsort(-(asked @ stored.T), axis=1, kind="stable")[:, :count]
        for stored_rows in (5, 16, 33, 90):
            assert (nearest(stored, asked, count, stored_rows=stored_rows)[1] == wanted).all()


def test_a_view_is_the_rows_that_it_names() -> None:
    chosen = np.array([0, 3, 70, 119, 121, 150])
    view = View.whole(ROWS, ROWS[:40] + 1).at(chosen)
    assert view.shape == (6, 30)
    assert (view[:] == np.concatenate([ROWS, ROWS[:40] + 1])[chosen]).all()
    assert (view[2:5] == view[:][2:5]).all()


def test_features_that_are_no_numbers_are_named() -> None:
    broken = ROWS.copy()
    broken[17, 3] = np.nan
    with pytest.raises(DataError, match=r"^digits: features of picture 17 are NaN, infinite or above"):
        check_finite(broken, "digits")
