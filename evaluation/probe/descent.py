"""Jobs on their way to their optima: each in units of its own along the axes, until the bound by its gradient is small enough.

The units are those along which the objective curves alike (basis.py), renewed by the curvature met on the way.

b = jobs that are not finished, R = kept axes and one constant, C = classes, P = R C.
"""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.probe.basis import Basis
from evaluation.probe.lbfgs import Minima, minimise
from evaluation.probe.losses import Losses

RENEWALS = (0, 5, 15, 40, 80, 160, 320)
"""Rounds at which the axes' units are renewed by the curvature of the place that was reached."""
CALM, CALM_STEPS = 0.03, 3
"""A job is estimated to be near enough where each of so many steps running is expected to gain less than this share of its gap."""

Worth = Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]
"""(which jobs (b,), objectives (b,)) -> the gap that may be left to each."""


class Descent:
    """`groups` and `penalties` (B,) of the jobs, their `points` (B, R, C), and the evaluations and steps so far (B,).

    Where `estimated`, a job is also near enough when the model of its curvature expects little to be gained; those whose gap is
    proved are `certified` (B,).
    """

    def __init__(
        self,
        basis: Basis,
        groups: NDArray[np.int64],
        penalties: NDArray[np.float64],
        scales_BR: torch.Tensor,
        points_BRC: torch.Tensor,
        worth: Worth,
        estimated: bool = False,
    ) -> None:
        self.points = points_BRC
        self.gradients = torch.zeros_like(points_BRC)
        self.values = np.zeros(len(groups))
        self.evaluations, self.steps = np.zeros(len(groups), np.int64), np.zeros(len(groups), np.int64)
        self.certified = np.zeros(len(groups), bool)
        self._basis, self._groups, self._penalties, self._worth = basis, groups, penalties, worth
        self._estimated = estimated
        self._scales_BR1 = scales_BR[:, :, None]
        self._strength_B11 = torch.as_tensor(penalties, device=scales_BR.device)[:, None, None]

    def go(self, losses: Losses, jobs: NDArray[np.int64], most_evaluations: int) -> NDArray[np.int64]:
        """`jobs` from their points as far as the precision of `losses` takes them; gives those that are not near enough yet."""
        run = _Run(self, losses, jobs)
        found = run.minima(most_evaluations)
        at = torch.as_tensor(jobs, device=self.points.device)
        scales_bR1 = self._scales_BR1[at]
        self.points[at] = run.shaped(found.points) * scales_bR1
        self.gradients[at] = run.shaped(found.gradients) / scales_bR1
        self.values[jobs] = found.values
        self.evaluations[jobs] += found.evaluations
        self.steps[jobs] += found.steps
        return jobs[~found.finished]


class _Run:
    """One minimisation of some `jobs` of a descent; positions among them are `which`."""

    def __init__(self, descent: Descent, losses: Losses, jobs: NDArray[np.int64]) -> None:
        self._all, self._losses, self._jobs = descent, losses, jobs
        self._rounds, self._bent = itertools.count(), dict[int, torch.Tensor]()
        self._calm = np.zeros(len(jobs), np.int64)

    def minima(self, most_evaluations: int) -> Minima:
        places = self._places(np.arange(len(self._jobs)))
        start_bP = (self._all.points[places] / self._all._scales_BR1[places]).flatten(1)
        precision = self._losses.precision
        return minimise(self._evaluate, start_bP, self._finished, most_evaluations, precision, self._renew)

    def shaped(self, points_bP: torch.Tensor) -> torch.Tensor:
        return points_bP.view(len(points_bP), *self._all.points.shape[1:])

    def _places(self, which: NDArray[np.int64]) -> torch.Tensor:
        return torch.as_tensor(self._jobs[which], device=self._all.points.device)

    def _evaluate(self, which: NDArray[np.int64], points_bP: torch.Tensor) -> tuple[NDArray[np.float64], torch.Tensor]:
        at = self._places(which)
        scales_bR1, strength_b11 = self._all._scales_BR1[at], self._all._strength_B11[at]
        weights_bRC = self.shaped(points_bP) * scales_bR1
        curved = next(self._rounds) in RENEWALS and not self._losses.streams
        groups = self._all._groups[self._jobs[which]]
        losses_b, gradient_bRC, curvature_bR = self._losses(groups, weights_bRC, curved)
        self._bent.clear()
        if curvature_bR is not None:
            self._bent.update(zip(which.tolist(), curvature_bR, strict=True))
        gradient_bRC[:, :-1] += strength_b11 * weights_bRC[:, :-1]
        penalty_b = 0.5 * strength_b11[:, 0, 0] * weights_bRC[:, :-1].square().sum(dim=(1, 2))
        return (losses_b + penalty_b).cpu().numpy(), (gradient_bRC * scales_bR1).flatten(1)

    def _renew(self, which: NDArray[np.int64]) -> torch.Tensor | None:
        """Units by the curvature where the jobs are now, instead of that at zero or at an earlier place."""
        if not self._bent:
            return None
        at = self._places(which)
        curvature_bR = torch.stack([self._bent[job] for job in which.tolist()])
        new_bR1 = self._all._basis.units(curvature_bR, self._all._strength_B11[at, 0])[:, :, None]
        times_bR1 = new_bR1 / self._all._scales_BR1[at]
        self._all._scales_BR1[at] = new_bR1
        return times_bR1.expand(-1, -1, self._all.points.shape[2]).flatten(1)

    def _finished(
        self,
        which: NDArray[np.int64],
        values: NDArray[np.float64],
        gradients_bP: torch.Tensor,
        expected: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Whether |grad_W|^2 / (2 lambda), and what the intercept may add, is a gap that may be left."""
        jobs, scaled_bRC = self._jobs[which], self.shaped(gradients_bP)
        steep_b = (scaled_bRC[:, :-1] / self._all._scales_BR1[self._places(which), :-1]).square()
        gap_b = steep_b.sum(dim=(1, 2)).cpu().numpy() / (2 * self._all._penalties[jobs])
        constant_b = scaled_bRC[:, -1].square().sum(dim=1).cpu().numpy() / 2
        worth = self._all._worth(jobs, values)
        certain: NDArray[np.bool_] = gap_b + constant_b <= worth
        self._all.certified[jobs] = certain
        if not self._all._estimated:
            return certain
        self._calm[which] = np.where(expected <= CALM * worth, self._calm[which] + 1, 0)
        return certain | (self._calm[which] >= CALM_STEPS)
