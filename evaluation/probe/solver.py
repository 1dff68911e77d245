"""Multinomial logistic regression on frozen features, solved to the optimum, for many penalties and many sets of rows at once.

    f(W, b) = sum over rows of loss(x W + b, y) + lambda/2 |W - A|^2

A is zero, or the zero-shot classifier where few examples should not move far from it. Two classes are one logit in scikit-learn,
with lambda/2 |w_1 - w_0|^2, which at its optimum is lambda |W|^2: so it is here, that a lambda means the same.

Solver: L-BFGS in the features' own axes (basis.py), all penalties side by side in one product. What it returns says how far
from the optimum it can be: with the intercept at its best, f is lambda-strongly convex in W, so
f - f* <= |grad_W|^2 / (2 lambda) (Nesterov 2004, theorem 2.1.10).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.probe.basis import decompose, rotated, streamed
from evaluation.probe.lbfgs import Minima, minimise
from evaluation.probe.objective import Loss, Objective, one_thread_each
from evaluation.probe.rows import Matrix, blocks

TOLERANCE = 1e-6
MOST_EVALUATIONS = 1000
LEAST_GAIN = 1e-4
"""Of the objective: features that tell nothing gain nothing, and no gap is a share of nothing."""
SETTLING_STEPS = 3
RENEWALS = (0, 5, 15, 40, 80, 160, 320)
"""Rounds at which the axes' units are renewed by the curvature of the place that was reached."""
RESIDENT_BYTES = 4 << 30
"""Features up to this size are kept rotated in memory; larger ones are read from their file for each product."""


@dataclass(frozen=True)
class Fit:
    """One optimum: logits are features @ weights (D, C) + intercept (C,).

    objective       f at the solution
    gradient_norm   the gradient's largest entry there, by weights of the features' principal axes
    gap_bound       |grad_W|^2 / (2 lambda), of two classes / (4 lambda): f - f* is at most this where the intercept is at its
                    best: of certified fits
    evaluations     of loss and gradient
    """

    group: int
    penalty: float
    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]
    objective: float
    gradient_norm: float
    gap_bound: float
    evaluations: int
    steps: int

    def logits(self, features_ND: Matrix) -> NDArray[np.float64]:
        """(N, C)."""
        out_NC = np.empty((len(features_ND), len(self.intercept)))
        weights_DC = torch.from_numpy(self.weights)
        with one_thread_each():
            for rows, block_nD in blocks(features_ND):
                out_NC[rows] = (torch.from_numpy(block_nD.astype(np.float64)) @ weights_DC).numpy() + self.intercept
        return out_NC


@dataclass(frozen=True)
class Job:
    """What is asked for: a penalty on one group's rows, from zero or from an earlier solution."""

    penalty: float
    group: int = 0
    start: Fit | None = None


class Solver:
    """G sets of rows of equal size, decomposed once; `solve` then takes any number of jobs on them.

    `targets`: class positions (G, N), or for "sigmoid" 0 and 1 of shape (G, N, C), -1 where a row says nothing of a class.
    `anchor` (D, C) is A. `precision` is that of the products; sums and steps are float64 always.
    """

    def __init__(
        self,
        features_GND: Sequence[Matrix],
        targets: NDArray[np.integer],
        classes: int,
        loss: Loss = "softmax",
        anchor: NDArray[np.floating] | None = None,
        device: str = "cpu",
        precision: torch.dtype = torch.float64,
        resident_bytes: int | None = None,
    ) -> None:
        self.classes, self.loss, self.precision = classes, loss, precision
        self._columns = 2.0 if loss == "softmax" and classes == 2 else 1.0
        with one_thread_each():
            self.basis = decompose(features_GND, torch.device(device))
        size = sum(each.size for each in features_GND) * precision.itemsize
        if resident_bytes is None:
            resident_bytes = torch.cuda.mem_get_info(device)[0] // 3 if device.startswith("cuda") else RESIDENT_BYTES
        self.streams = size > resident_bytes and len(features_GND) == 1
        with one_thread_each():
            if self.streams:
                rows = streamed(features_GND[0], self.basis, precision)
            else:
                rows = rotated(features_GND, self.basis, precision)
        self._null = np.array(
            [_null(each, classes, loss) if anchor is None else np.inf for each in np.asarray(targets)]
        )
        self._objective = Objective(rows, torch.from_numpy(np.asarray(targets, np.int64)), classes, loss)
        self._anchor_DC = None if anchor is None else torch.as_tensor(np.asarray(anchor, np.float64), device=device)

    @property
    def count(self) -> int:
        return self.basis.count

    def solve(
        self,
        jobs: Sequence[Job],
        tolerance: float = TOLERANCE,
        least: float = 0.0,
        certify: bool = False,
        most_evaluations: int = MOST_EVALUATIONS,
    ) -> list[Fit]:
        """A Fit per job; `tolerance` is the gap that may be left, as a share of the objective and of what it gained over
        weights of zero; where the objective is below `least` nats per row, of that. `certify` settles the intercept, so that
        gap_bound holds."""

        def worth(which: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
            # Under a large penalty little is gained over weights of zero, and answers hang on that little.
            gained = self._null[groups[which]] - values
            scale = np.maximum(values, least * self.count)
            return tolerance * np.minimum(scale, np.maximum(gained, LEAST_GAIN * values))

        groups = np.array([job.group for job in jobs])
        penalties = self._columns * np.array([job.penalty for job in jobs], np.float64)
        scales_BR1 = torch.stack(
            [
                self.basis.scales(job.group, penalty, self.classes, self.loss)
                for job, penalty in zip(jobs, penalties.tolist(), strict=True)
            ]
        )[:, :, None]  # fmt: skip
        device = scales_BR1.device
        strength_B11 = torch.as_tensor(penalties, device=device)[:, None, None]
        rounds, bent = itertools.count(), dict[int, torch.Tensor]()

        def shaped(points_bP: torch.Tensor) -> torch.Tensor:
            return points_bP.view(len(points_bP), -1, self.classes)

        def evaluate(which: NDArray[np.int64], points_bP: torch.Tensor) -> tuple[NDArray[np.float64], torch.Tensor]:
            at = torch.as_tensor(which, device=device)
            scales_bR1, strength_b11 = scales_BR1[at], strength_B11[at]
            weights_bRC = shaped(points_bP) * scales_bR1
            curved = next(rounds) in RENEWALS and not self.streams
            losses_b, gradient_bRC, curvature_bR = self._losses(groups[which], weights_bRC, curved)
            bent.clear()
            if curvature_bR is not None:
                bent.update(zip(which.tolist(), curvature_bR, strict=True))
            gradient_bRC[:, :-1] += strength_b11 * weights_bRC[:, :-1]
            penalty_b = 0.5 * strength_b11[:, 0, 0] * weights_bRC[:, :-1].square().sum(dim=(1, 2))
            return (losses_b + penalty_b).cpu().numpy(), (gradient_bRC * scales_bR1).flatten(1)

        def renew(which: NDArray[np.int64]) -> torch.Tensor | None:
            """Units by the curvature where the jobs are now, instead of that at zero or at an earlier place."""
            if not bent:
                return None
            at = torch.as_tensor(which, device=device)
            curvature_bR = torch.stack([bent[job] for job in which.tolist()])
            new_bR1 = self.basis.units(curvature_bR, strength_B11[at, 0])[:, :, None]
            times_bR1 = new_bR1 / scales_BR1[at]
            scales_BR1[at] = new_bR1
            return times_bR1.expand(-1, -1, self.classes).flatten(1)

        def finished(
            which: NDArray[np.int64], values: NDArray[np.float64], gradients_bP: torch.Tensor
        ) -> NDArray[np.bool_]:
            scaled_bRC = shaped(gradients_bP)
            steep_b = (scaled_bRC[:, :-1] / scales_BR1[torch.as_tensor(which, device=device), :-1]).square()
            gap_b = steep_b.sum(dim=(1, 2)).cpu().numpy() / (2 * penalties[which])
            constant_b = scaled_bRC[:, -1].square().sum(dim=1).cpu().numpy() / 2
            out: NDArray[np.bool_] = gap_b + constant_b <= worth(which, values)
            return out

        starts_BRC = torch.stack([self._start(job) for job in jobs]) / scales_BR1
        with one_thread_each() as self._objective.threads:
            found = minimise(evaluate, starts_BRC.flatten(1), finished, worth, most_evaluations, self.precision, renew)
            weights_BRC, gradients_BRC = shaped(found.points) * scales_BR1, shaped(found.gradients) / scales_BR1
            return [
                self._fit(job, weights_BRC[at], gradients_BRC[at], found, at, certify) for at, job in enumerate(jobs)
            ]

    def _standing(self, groups: NDArray[np.int64], weights_bRC: torch.Tensor) -> torch.Tensor:
        """Weights in the axes, with the anchor that they were measured from."""
        if self._anchor_DC is None:
            return weights_bRC
        anchors_brC = (self.basis.axes.transpose(1, 2) @ self._anchor_DC)[groups]
        return torch.cat([weights_bRC[:, :-1] + anchors_brC, weights_bRC[:, -1:]], dim=1)

    def _turned(self, weights_RC: torch.Tensor) -> torch.Tensor:
        """Weights (..., R, C) as the rows need them: those that are read from their file lie in the features' own axes."""
        if not self.streams:
            return weights_RC
        return torch.cat([self.basis.axes[0] @ weights_RC[..., :-1, :], weights_RC[..., -1:, :]], dim=-2)

    def _losses(
        self, groups: NDArray[np.int64], weights_bRC: torch.Tensor, curved: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Losses (b,), their gradient (b, R, C) and curvature (b, R), by weights that stand where the penalty is least."""
        weights_bRC = self._standing(groups, weights_bRC)
        present, place = np.unique(groups, return_inverse=True)
        # Position of each job among those of its group; groups with fewer jobs repeat one, whose answer is not read.
        order = np.array([int((place[:at] == group).sum()) for at, group in enumerate(place)])
        slots = np.zeros((len(present), int(order.max()) + 1), np.int64)
        slots[:] = np.array([int(np.flatnonzero(place == group)[0]) for group in range(len(present))])[:, None]
        slots[place, order] = np.arange(len(groups))
        gathered_GKRC = weights_bRC[torch.as_tensor(slots, device=weights_bRC.device)]
        losses_GK, gradient_GKRC, curvature_GKR = self._objective(present.tolist(), self._turned(gathered_GKRC), curved)
        if self.streams:
            back = self.basis.axes[0].T @ gradient_GKRC[:, :, :-1]
            gradient_GKRC = torch.cat([back, gradient_GKRC[:, :, -1:]], dim=2)
        at, beside = (torch.as_tensor(each, device=weights_bRC.device) for each in (place, order))
        bent_bR = None if curvature_GKR is None else curvature_GKR[at, beside]
        return losses_GK[at, beside], gradient_GKRC[at, beside].contiguous(), bent_bR

    def _start(self, job: Job) -> torch.Tensor:
        """(R, C): an earlier solution, or the anchor itself, in this group's axes."""
        basis, device = self.basis, self.basis.mean.device
        mean_1D, axes_Dr = basis.mean[job.group], basis.axes[job.group]
        if job.start is None:
            start_RC = axes_Dr.new_zeros(axes_Dr.shape[1] + 1, self.classes)
            if self._anchor_DC is not None:
                start_RC[-1] = (mean_1D @ self._anchor_DC)[0]
            return start_RC
        weights_DC = torch.as_tensor(job.start.weights, device=device)
        moved_DC = weights_DC if self._anchor_DC is None else weights_DC - self._anchor_DC
        constant_1C = torch.as_tensor(job.start.intercept, device=device) + mean_1D @ weights_DC
        return torch.cat([axes_Dr.T @ moved_DC, constant_1C])

    def _fit(
        self, job: Job, weights_RC: torch.Tensor, gradient_RC: torch.Tensor, found: Minima, at: int, certify: bool
    ) -> Fit:
        value = float(found.values[at])
        if certify:
            weights_RC, gradient_RC, value = self._settle(job, weights_RC, gradient_RC, value)
        axes_Dr = self.basis.axes[job.group]
        weights_DC = axes_Dr @ weights_RC[:-1]
        if self._anchor_DC is not None:
            weights_DC = weights_DC + self._anchor_DC
        intercept_C = weights_RC[-1] - (self.basis.mean[job.group] @ weights_DC)[0]
        steepest = max(float((axes_Dr @ gradient_RC[:-1]).abs().max()), float(gradient_RC[-1].abs().max()))
        return Fit(
            job.group,
            job.penalty,
            weights_DC.cpu().numpy(),
            intercept_C.cpu().numpy(),
            value,
            steepest / self.count,
            float(gradient_RC[:-1].square().sum()) / (2 * self._columns * job.penalty),
            int(found.evaluations[at]),
            int(found.steps[at]),
        )

    def _settle(
        self, job: Job, weights_RC: torch.Tensor, gradient_RC: torch.Tensor, value: float
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Newton's method on the intercept alone, so that the bound by the weights' gradient is one of the whole gap."""
        groups, penalty = np.array([job.group]), self._columns * job.penalty
        for _ in range(SETTLING_STEPS):
            curvature_CC = self._curvature(job.group, weights_RC)
            moved_RC = weights_RC.clone()
            moved_RC[-1] -= torch.linalg.pinv(curvature_CC, rtol=1e-12, hermitian=True) @ gradient_RC[-1]
            losses, gradients, _ = self._losses(groups, moved_RC[None])
            gradients[0, :-1] += penalty * moved_RC[:-1]
            now = float(losses[0]) + penalty / 2 * float(moved_RC[:-1].square().sum())
            if not float(gradients[0, -1].abs().max()) < float(gradient_RC[-1].abs().max()):
                break
            weights_RC, gradient_RC, value = moved_RC, gradients[0], now
        return weights_RC, gradient_RC, value

    def _curvature(self, group: int, weights_RC: torch.Tensor) -> torch.Tensor:
        """Second derivatives of the losses by the intercept, (C, C)."""
        standing_1RC = self._standing(np.array([group]), weights_RC[None])
        return self._objective.intercept_curvature(group, self._turned(standing_1RC)[0])


def _null(targets: NDArray[np.integer], classes: int, loss: Loss) -> float:
    """The sum of losses with weights of zero and the best intercept: the labels' entropy."""
    counts = (
        np.bincount(targets, minlength=classes)
        if loss == "softmax"
        else np.stack([(targets == 1).sum(0), (targets == 0).sum(0)])
    )
    shares = counts / np.maximum(counts.sum(0), 1)
    return float(-(counts * np.log(np.where(shares > 0, shares, 1.0))).sum())
