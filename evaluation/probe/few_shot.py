"""Few pictures per class: which ones are drawn, and probes on many draws at once (Radford et al. 2021, figure 6).

Per seed and class one order is drawn; k shots are its first k pictures, so that a larger k only adds some. As in CoOp
(Zhou et al. 2022, arXiv:2109.01134), seeds are 1 to 3 and the penalty is chosen on min(k, 4) further pictures per class.
All seeds and penalties of one k are solved side by side. The anchored penalty |W - W_zero_shot|^2 keeps the zero-shot
classifier where the few pictures say nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.probe import sklearn_fit
from evaluation.probe.ladder import GRID, Search
from evaluation.probe.path import predicted
from evaluation.probe.solver import Fit, Job, Solver
from pipeline.errors import DataError

MOST_VALIDATION = 4

Score = Callable[[NDArray[np.int64], NDArray[np.float64]], float]


@dataclass(frozen=True)
class Draw:
    """Positions of the pictures to learn from and of those that choose the penalty."""

    learn: NDArray[np.int64]
    choose: NDArray[np.int64]


@dataclass(frozen=True)
class Shot:
    """One seed's result: its penalty and the value on its validation pictures, its logits on the test part (N, C)."""

    seed: int
    fit: Fit
    validation: float
    scores: NDArray[np.float64]


def draw(labels_N: NDArray[np.int64], shots: int, seed: int, validation: int | None = None) -> Draw:
    """`shots` pictures of each class and min(shots, 4) others; of a small class all but one learn at most."""
    wanted = min(shots, MOST_VALIDATION) if validation is None else validation
    learn, choose = [], []
    for label in np.unique(labels_N):
        members = np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels_N == label))
        most = len(members) if wanted == 0 else max(1, len(members) - 1)
        taken = min(shots, most)
        learn.append(members[:taken])
        choose.append(members[taken : taken + wanted])
    return Draw(np.concatenate(learn), np.concatenate(choose))


def few_shot(
    train_ND: NDArray[np.floating],
    labels_N: NDArray[np.int64],
    test_ND: NDArray[np.floating],
    shots: int,
    seeds: Sequence[int],
    score: Score,
    anchor_DC: NDArray[np.floating] | None = None,
    device: str = "cpu",
    precision: torch.dtype = torch.float64,
    mode: Literal["exact", "sklearn"] = "exact",
) -> list[Shot]:
    """A probe per seed, each with CLIP's search for its penalty. All classes of `labels_N` must be those of `anchor_DC`.

    Mode "sklearn" fits as scikit-learn does, one after the other, and knows no anchor. Raises DataError where no picture is left
    to choose by.
    """
    classes, targets_N = np.unique(labels_N, return_inverse=True)
    draws = [draw(labels_N, shots, seed) for seed in seeds]
    if not len(draws[0].choose):
        raise DataError(
            f"every class has {shots} picture to learn from, so none is left to choose a penalty by; add pictures"
        )
    learned = [np.asarray(train_ND[each.learn]) for each in draws]
    targets = np.stack([targets_N[each.learn] for each in draws])
    if mode == "sklearn":
        assert anchor_DC is None

        def solve(jobs: list[Job]) -> list[Fit]:
            return [sklearn_fit.fit(learned[job.group], targets[job.group], len(classes), job.penalty) for job in jobs]
    else:
        anchor = None if anchor_DC is None else anchor_DC[:, classes]
        solve = Solver(learned, targets, len(classes), anchor=anchor, device=device, precision=precision).solve
    asked = [np.asarray(train_ND[each.choose]) for each in draws]
    searches, fits = [Search() for _ in seeds], [dict[int, Fit]() for _ in seeds]
    while rounds := [(group, at) for group, search in enumerate(searches) for at in search.wanted()]:
        found = solve([Job(float(GRID[at]), group, predicted(fits[group], at)) for group, at in rounds])
        for (group, at), fit in zip(rounds, found, strict=True):
            fits[group][at] = fit
            value = score(labels_N[draws[group].choose], _spread(fit, asked[group], classes))
            searches[group].tell([at], [value])
    return [
        Shot(seed, fits[group][search.best], search.values[search.best], _spread(fits[group][search.best], test_ND, classes))
        for group, (seed, search) in enumerate(zip(seeds, searches, strict=True))
    ]  # fmt: skip


def _spread(fit: Fit, features_ND: NDArray[np.floating], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logits with a column for every class up to the last; -inf where there was no picture of it."""
    logits_NC = np.full((len(features_ND), int(classes.max()) + 1), -np.inf)
    logits_NC[:, classes] = fit.logits(features_ND)
    return logits_NC
