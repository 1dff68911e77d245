"""The losses of many jobs as functions of weights along the features' axes (basis.py): each job on its group's rows, side by side.

Weights stand where the penalty is least: they are measured from the anchor, if there is one. b = jobs, R = kept axes and one
constant, C = classes, G = groups, K = jobs of one group.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.probe.basis import Basis, rotated, streamed
from evaluation.probe.objective import Loss, Objective
from evaluation.probe.rows import Matrix
from evaluation.probe.threads import Threads


class Losses:
    """`streams`: rows are read from their file for each product, and lie in the features' own axes. `precision` is that of the
    products."""

    def __init__(
        self,
        features_GND: Sequence[Matrix],
        basis: Basis,
        targets: NDArray[np.int64],
        classes: int,
        loss: Loss,
        anchor_DC: torch.Tensor | None,
        precision: torch.dtype,
        streams: bool,
        threads: Threads,
    ) -> None:
        rows = (
            streamed(features_GND[0], basis, precision) if streams else rotated(features_GND, basis, precision, threads)
        )
        self.objective = Objective(rows, torch.from_numpy(targets), classes, loss)
        self.precision, self.streams = precision, streams
        self._basis, self._anchor_DC = basis, anchor_DC

    def __call__(
        self, groups: NDArray[np.int64], weights_bRC: torch.Tensor, curved: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Losses (b,), their gradient (b, R, C) and, where asked for, curvature (b, R)."""
        weights_bRC = self._standing(groups, weights_bRC)
        present, place = np.unique(groups, return_inverse=True)
        # Position of each job among those of its group; groups with fewer jobs repeat one, whose answer is not read.
        order = np.array([int((place[:at] == group).sum()) for at, group in enumerate(place)])
        slots = np.zeros((len(present), int(order.max()) + 1), np.int64)
        slots[:] = np.array([int(np.flatnonzero(place == group)[0]) for group in range(len(present))])[:, None]
        slots[place, order] = np.arange(len(groups))
        gathered_GKRC = weights_bRC[torch.as_tensor(slots, device=weights_bRC.device)]
        losses_GK, gradient_GKRC, curvature_GKR = self.objective(present.tolist(), self._turned(gathered_GKRC), curved)
        if self.streams:
            back = self._basis.axes[0].T @ gradient_GKRC[:, :, :-1]
            gradient_GKRC = torch.cat([back, gradient_GKRC[:, :, -1:]], dim=2)
        at, beside = (torch.as_tensor(each, device=weights_bRC.device) for each in (place, order))
        bent_bR = None if curvature_GKR is None else curvature_GKR[at, beside]
        return losses_GK[at, beside], gradient_GKRC[at, beside].contiguous(), bent_bR

    def intercept_curvature(self, group: int, weights_RC: torch.Tensor) -> torch.Tensor:
        """Second derivatives of the losses by the intercept, (C, C)."""
        standing_1RC = self._standing(np.array([group]), weights_RC[None])
        return self.objective.intercept_curvature(group, self._turned(standing_1RC)[0])

    def _standing(self, groups: NDArray[np.int64], weights_bRC: torch.Tensor) -> torch.Tensor:
        """Weights in the axes, with the anchor that they were measured from."""
        if self._anchor_DC is None:
            return weights_bRC
        anchors_brC = (self._basis.axes.transpose(1, 2) @ self._anchor_DC)[groups]
        return torch.cat([weights_bRC[:, :-1] + anchors_brC, weights_bRC[:, -1:]], dim=1)

    def _turned(self, weights_RC: torch.Tensor) -> torch.Tensor:
        """Weights (..., R, C) as the rows need them."""
        if not self.streams:
            return weights_RC
        return torch.cat([self._basis.axes[0] @ weights_RC[..., :-1, :], weights_RC[..., -1:, :]], dim=-2)
