"""Linear probe: logistic regression on frozen features, with CLIP's search for the penalty (arXiv:2103.00020, A.3).

Features are penultimate (before the projection) and not normalised. The penalty is searched on a validation part of the
training pictures, the final fit is on all of them, and the test part is looked at once.

N = pictures, W = feature width, C = classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.probe.ladder import GRID, Search, contenders
from evaluation.probe.objective import Loss
from evaluation.probe.path import predicted
from evaluation.probe.rows import Matrix, View
from evaluation.probe.sklearn_fit import SOLVER, fit, fit_each
from evaluation.probe.solver import MOST_EVALUATIONS, TOLERANCE, Fit, Job, Solver
from pipeline.errors import ConfigError, DataError

VALIDATION_SHARE = 0.2
SEARCH_LEAST = 1e-3
"""Nats per picture below which a fit of the search is not asked to be relatively better: all pictures are learned then."""
SETTLED_LEAST = 1e-5
"""The same of fits that may win the search."""
PATH_BATCH = 8
"""Penalties of the full path that are solved side by side, warm from the one before them."""
SOLVERS = {
    "exact": f"own L-BFGS in principal axes, to a gap of {TOLERANCE:g} of the objective or {MOST_EVALUATIONS} evaluations",
    "sklearn": SOLVER,
}
"""Named in every report, because where a solver stops can change the penalty that is chosen."""

Score = Callable[[NDArray[np.int64], NDArray[np.float64]], float]
"""The task's own metric of (labels (n,) or (n, C), logits (n, C))."""


@dataclass(frozen=True)
class How:
    """Where and how exactly to solve; `device` and `precision` are those of `place`. A fit of the search may be off by
    about `search_gap` of its objective; those that may win it (ladder.contenders) and the final one are proved to TOLERANCE."""

    mode: Literal["exact", "sklearn"] = "exact"
    device: str = "cpu"
    precision: torch.dtype = torch.float32
    full_path: bool = False
    search_gap: float = 1e-3


@dataclass(frozen=True)
class Tried:
    """One point of the search."""

    penalty: float
    validation: float
    iterations: int


@dataclass(frozen=True)
class Probe:
    """A finished probe: the search in the order of its penalties, the final fit, its logits on the test part (N, C).

    `path` has all 97 penalties where they were asked for.
    """

    search: tuple[Tried, ...]
    fit: Fit
    scores: NDArray[np.float64]
    path: tuple[Tried, ...] = ()

    @property
    def validation(self) -> float:
        """The best value on the validation part."""
        return max(each.validation for each in self.search)


def place(device: str, precision: str) -> tuple[str, torch.dtype]:
    """What "auto" means here: a GPU where there is one. Raises ConfigError for one that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("evaluate.probe.device: cuda, and torch finds no GPU here; use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return device, torch.float64 if precision == "float64" else torch.float32


def probe(
    train_NW: NDArray[np.floating],
    labels: NDArray[np.int64],
    test_NW: NDArray[np.floating],
    score: Score,
    seed: int,
    how: How | None = None,
    own: tuple[NDArray[np.floating], NDArray[np.int64]] | None = None,
) -> Probe:
    """Search, fit and answer. `labels` are class positions (N,), or 0 and 1 per class (N, C): then one classifier per class, and -1
    where a picture is no example for or against one.

    `own` has features and labels of the benchmark's own validation part; without, a fifth of the training part is one.
    The final fit is on both. Arrays may be memory-mapped.
    """
    how = how or How()
    if own is None:
        held_out, whole = validation_part(labels, seed), View.whole(train_NW)
    else:
        held_out = np.repeat([False, True], [len(labels), len(own[1])])
        whole, labels = View.whole(train_NW, own[0]), np.concatenate([labels, own[1]])
    learned = _Part(whole.at(np.flatnonzero(~held_out)), labels[~held_out], how)
    asked_nW, right = whole.at(np.flatnonzero(held_out)), labels[held_out]
    fits: dict[int, Fit] = {}
    seen: dict[int, float] = {}

    work: dict[int, int] = {}

    def evaluate(positions: list[int], gap: float, least: float, estimated: bool = False) -> None:
        fits.update(zip(positions, learned.fits(positions, fits, gap, least, estimated=estimated), strict=True))
        seen.update((at, score(right, learned.logits(fits[at], asked_nW))) for at in positions)
        work.update((at, work.get(at, 0) + fits[at].evaluations) for at in positions)

    search, settled = Search(), set[int]()
    while positions := search.wanted():
        evaluate(positions, how.search_gap, SEARCH_LEAST, estimated=how.search_gap > TOLERANCE)
        while how.mode == "exact" and (near := contenders(seen, settled, len(right))):
            evaluate(near, min(TOLERANCE, how.search_gap), SETTLED_LEAST)
            settled.update(near)
        search.tell(list(seen), list(seen.values()))
    best, tried = search.best, list(seen)
    if how.full_path:
        rest = [position for position in reversed(range(len(GRID))) if position not in fits]
        for start in range(0, len(rest), PATH_BATCH):
            evaluate(rest[start : start + PATH_BATCH], how.search_gap, SEARCH_LEAST)
    everything = _Part(whole, labels, how)
    warm = fits if everything.classes.tolist() == learned.classes.tolist() else {}
    final = everything.fits([best], warm, settle=True)[0]

    def curve(positions: Sequence[int]) -> tuple[Tried, ...]:
        return tuple(Tried(float(GRID[at]), seen[at], work[at]) for at in sorted(positions))

    return Probe(curve(tried), final, everything.logits(final, test_NW), curve(list(seen)) if how.full_path else ())


def validation_part(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """A fifth of each class, drawn by seed, shape (N,). A class of one picture stays in training; where no class has five,
    one picture of each other class is held out.

    Of pictures with several labels (N, C), a fifth of all. Raises DataError where nothing can be held out.
    """
    random = np.random.default_rng(seed)
    strata_N = labels if labels.ndim == 1 else np.zeros(len(labels), np.int64)
    drawn = [random.permutation(np.flatnonzero(strata_N == stratum)) for stratum in np.unique(strata_N)]
    shares = [int(len(members) * VALIDATION_SHARE) for members in drawn]
    if not any(shares):
        shares = [int(len(members) > 1) for members in drawn]
    if not any(shares):
        raise DataError(
            "every class has one picture to learn from, so none can be held out to choose a penalty by; add pictures,"
            " or a val part"
        )
    held_out = np.zeros(len(labels), bool)
    for members, share in zip(drawn, shares, strict=True):
        held_out[members[:share]] = True
    return held_out


class _Part:
    """Rows with labels, decomposed once. Classes without an example are left out: their intercept would have no optimum."""

    def __init__(self, features_NW: Matrix, labels: NDArray[np.int64], how: How) -> None:
        self._features, self._how, self._labels = features_NW, how, labels
        self._width = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        if labels.ndim == 2:
            share_C = (labels == 1).sum(axis=0) / np.maximum((labels >= 0).sum(axis=0), 1)
            self._answers = np.where(share_C > 0.5, np.inf, -np.inf)
            self.classes = np.flatnonzero((share_C > 0) & (share_C < 1))
            self._targets = labels[:, self.classes]
        else:
            self._answers = np.full(self._width, -np.inf)
            self.classes, self._targets = np.unique(labels, return_inverse=True)
        self._solver: Solver | None = None
        if how.mode == "exact":
            loss: Loss = "softmax" if labels.ndim == 1 else "sigmoid"
            self._solver = Solver(
                [features_NW], self._targets[None], len(self.classes), loss, device=how.device, precision=how.precision
            )

    def fits(
        self,
        positions: Sequence[int],
        known: Mapping[int, Fit],
        gap: float = TOLERANCE,
        least: float = 0.0,
        settle: bool = False,
        estimated: bool = False,
    ) -> list[Fit]:
        """A fit per position of GRID: side by side from where known ones say that it is; without any, one after the other,
        the largest penalty first, since each then starts near its end."""
        if self._solver is None:
            each = fit_each if self._labels.ndim == 2 else self._one
            return [each(self._features[:], self._targets, float(GRID[position])) for position in positions]
        if known or len(positions) == 1:
            jobs = [Job(float(GRID[position]), 0, predicted(known, position)) for position in positions]
            return self._solver.solve(jobs, gap, least, settle, estimated=estimated)
        found: dict[int, Fit] = {}
        for position in sorted(positions, reverse=True):
            job = Job(float(GRID[position]), 0, predicted(found, position))
            found |= zip([position], self._solver.solve([job], gap, least, settle, estimated=estimated), strict=True)
        return [found[position] for position in positions]

    def _one(self, features_NW: NDArray[np.floating], targets_N: NDArray[np.int64], penalty: float) -> Fit:
        return fit(features_NW, targets_N, len(self.classes), penalty)

    def logits(self, found: Fit, features_NW: Matrix) -> NDArray[np.float64]:
        """(N, C) with a column for every class: -inf where training had no picture of it."""
        out_NC = np.tile(self._answers, (len(features_NW), 1))
        out_NC[:, self.classes] = found.logits(features_NW)
        return out_NC
