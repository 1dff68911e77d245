"""Multinomial logistic regression on frozen features, solved to the optimum, for many penalties and many sets of rows at once.

    f(W, b) = sum over rows of loss(x W + b, y) + lambda/2 |W - A|^2

A is zero, or the zero-shot classifier where few examples should not move far from it. Two classes are one logit in scikit-learn,
with lambda/2 |w_1 - w_0|^2, which at its optimum is lambda |W|^2: so it is here, that a lambda means the same.

Solver: L-BFGS in the features' own axes (basis.py), all penalties side by side in one product. What it returns says how far
from the optimum it can be: with the intercept at its best, f is lambda-strongly convex in W, so
f - f* <= |grad_W|^2 / (2 lambda) (Nesterov 2004, theorem 2.1.10).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.probe.basis import decompose
from evaluation.probe.descent import Descent
from evaluation.probe.losses import Losses
from evaluation.probe.objective import Loss
from evaluation.probe.rows import Matrix, blocks
from evaluation.probe.threads import one_thread_each

TOLERANCE = 1e-6
MOST_EVALUATIONS = 2000
LEAST_GAIN = 1e-4
"""Of the objective: features that tell nothing gain nothing, and no gap is a share of nothing."""
SETTLING_STEPS = 3
RESIDENT_BYTES = 4 << 30
"""Features up to this size are kept rotated in memory; larger ones are read from their file for each product."""


@dataclass(frozen=True)
class Fit:
    """One optimum: logits are features @ weights (D, C) + intercept (C,).

    objective       f at the solution
    gradient_norm   the gradient's largest entry there, by weights of the features' principal axes
    gap_bound       |grad_W|^2 / (2 lambda), of two classes / (4 lambda): f - f* is at most this where the intercept is at its
                    best: of settled fits
    evaluations     of loss and gradient
    certified       whether that bound, and what the intercept may add, came below the gap that was asked for
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
    certified: bool = False

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
        with one_thread_each() as threads:
            self.basis = decompose(features_GND, torch.device(device), threads)
        if resident_bytes is None:
            resident_bytes = torch.cuda.mem_get_info(device)[0] // 3 if device.startswith("cuda") else RESIDENT_BYTES
        self._features_GND, self._resident_bytes = features_GND, resident_bytes
        self._targets = np.asarray(targets, np.int64)
        self._null = np.array([_null(each, classes, loss) if anchor is None else np.inf for each in self._targets])
        self._anchor_DC = None if anchor is None else torch.as_tensor(np.asarray(anchor, np.float64), device=device)
        self._made: dict[torch.dtype, Losses] = {}
        self.losses(precision)

    @property
    def count(self) -> int:
        return self.basis.count

    def losses(self, precision: torch.dtype) -> Losses:
        """With products of this type; made when they are first needed."""
        if precision not in self._made:
            size = sum(each.size for each in self._features_GND) * precision.itemsize
            streams = size > self._resident_bytes and len(self._features_GND) == 1
            with one_thread_each() as threads:
                self._made[precision] = Losses(
                    self._features_GND,
                    self.basis,
                    self._targets,
                    self.classes,
                    self.loss,
                    self._anchor_DC,
                    precision,
                    streams,
                    threads,
                )
        return self._made[precision]

    def solve(
        self,
        jobs: Sequence[Job],
        tolerance: float = TOLERANCE,
        least: float = 0.0,
        settle: bool = False,
        most_evaluations: int = MOST_EVALUATIONS,
        estimated: bool = False,
    ) -> list[Fit]:
        """A Fit per job; `tolerance` is the gap that may be left, as a share of the objective and of what it gained over
        weights of zero; where the objective is below `least` nats per row, of that. Jobs that rounding holds above it go on with
        products of float64. `settle` brings the intercept to its best, so that gap_bound is one of the whole gap.
        `estimated` is for fits that are only compared: they may also stop where little is expected to be gained, uncertified."""

        def worth(which: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
            # Under a large penalty little is gained over weights of zero, and answers hang on that little.
            gained = self._null[groups[which]] - values
            scale = np.maximum(values, least * self.count)
            return tolerance * np.minimum(scale, np.maximum(gained, LEAST_GAIN * values))

        groups = np.array([job.group for job in jobs])
        penalties = self._columns * np.array([job.penalty for job in jobs], np.float64)
        scales_BR = torch.stack(
            [
                self.basis.scales(job.group, penalty, self.classes, self.loss)
                for job, penalty in zip(jobs, penalties.tolist(), strict=True)
            ]
        )
        starts_BRC = torch.stack([self._start(job) for job in jobs])
        descent = Descent(self.basis, groups, penalties, scales_BR, starts_BRC, worth, estimated)
        losses = self.losses(self.precision)
        with one_thread_each() as threads:
            losses.objective.threads = threads
            open_jobs = descent.go(losses, np.arange(len(jobs)), most_evaluations)
            left = most_evaluations - int(descent.evaluations[open_jobs].max(initial=0))
            if len(open_jobs) and left > 0 and self.precision != torch.float64:
                losses = self.losses(torch.float64)
                losses.objective.threads = threads
                open_jobs = descent.go(losses, open_jobs, left)
            return [self._fit(job, descent, at, losses, settle) for at, job in enumerate(jobs)]

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

    def _fit(self, job: Job, descent: Descent, at: int, losses: Losses, settle: bool) -> Fit:
        weights_RC, gradient_RC, value = descent.points[at], descent.gradients[at], float(descent.values[at])
        if settle:
            weights_RC, gradient_RC, value = self._settled(job, losses, weights_RC, gradient_RC, value)
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
            int(descent.evaluations[at]),
            int(descent.steps[at]),
            bool(descent.certified[at]),
        )

    def _settled(
        self, job: Job, losses: Losses, weights_RC: torch.Tensor, gradient_RC: torch.Tensor, value: float
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Newton's method on the intercept alone, so that the bound by the weights' gradient is one of the whole gap."""
        groups, penalty = np.array([job.group]), self._columns * job.penalty
        for _ in range(SETTLING_STEPS):
            curvature_CC = losses.intercept_curvature(job.group, weights_RC)
            moved_RC = weights_RC.clone()
            moved_RC[-1] -= torch.linalg.pinv(curvature_CC, rtol=1e-12, hermitian=True) @ gradient_RC[-1]
            found, gradients, _ = losses(groups, moved_RC[None])
            gradients[0, :-1] += penalty * moved_RC[:-1]
            now = float(found[0]) + penalty / 2 * float(moved_RC[:-1].square().sum())
            if not float(gradients[0, -1].abs().max()) < float(gradient_RC[-1].abs().max()):
                break
            weights_RC, gradient_RC, value = moved_RC, gradients[0], now
        return weights_RC, gradient_RC, value


def _null(targets: NDArray[np.integer], classes: int, loss: Loss) -> float:
    """The sum of losses with weights of zero and the best intercept: the labels' entropy."""
    counts = (
        np.bincount(targets, minlength=classes)
        if loss == "softmax"
        else np.stack([(targets == 1).sum(0), (targets == 0).sum(0)])
    )
    shares = counts / np.maximum(counts.sum(0), 1)
    return float(-(counts * np.log(np.where(shares > 0, shares, 1.0))).sum())
