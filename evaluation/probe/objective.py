"""The loss of logistic regression and its gradient, for many problems in one matrix product per block of rows.

The loss is the cross-entropy of a softmax over the classes, or, for several labels per picture, one logistic loss per class.
Problems that share their rows form a group: they lie side by side in one product, so that features are read once per round.

Rows are cut into blocks whose size follows from the problem alone. Blocks are shared out to threads (threads.py), and sums are
added in a fixed order: the result is the same bits for any number of them.

G = groups, N = rows, R = features (one of them constant), K = problems side by side, C = classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from evaluation.probe.products import BLOCK_ROWS, LaidOut, LaidOutBlock, Plain
from evaluation.probe.threads import Threads

Loss = Literal["softmax", "sigmoid"]
BLOCK_LOGITS = {"cpu": 1 << 16, "cuda": 1 << 27}
"""Of one block: on a CPU they stay in its cache, on a GPU they keep it busy."""
LEAST_ROWS = 128
STRIPES = 16
"""Runs of neighbouring blocks that are summed on their own: the most threads that can help."""


@dataclass(frozen=True)
class Rows:
    """Features of G groups: `block(groups, start, stop)` gives (len(groups), stop - start, R) in the type of the products.

    `laid_out` has the same rows, of one group, as its products want them, in blocks of BLOCK_ROWS.
    """

    groups: int
    count: int
    width: int
    dtype: torch.dtype
    device: torch.device
    block: Callable[[Sequence[int], int, int], torch.Tensor]
    laid_out: LaidOut | None = None


_Part = tuple[range, range]
_Sums = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Objective:
    """Sum of losses and its gradient. `targets` are class positions (G, N), or for sigmoid 0 and 1 of shape (G, N, C); a row that
    is to say nothing of a class is -1 there."""

    def __init__(self, rows: Rows, targets: torch.Tensor, classes: int, loss: Loss) -> None:
        self.rows, self.classes, self.loss = rows, classes, loss
        self.threads = Threads()
        self._targets = targets.to(rows.device)
        self._silent = loss == "sigmoid" and bool((targets < 0).any())

    def __call__(
        self, groups: Sequence[int], weights_GKRC: torch.Tensor, curved: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """(losses (len(groups), K), gradient (len(groups), K, R, C), curvature), float64; `weights_GKRC` of the named groups.

        The curvature (len(groups), K, R), where it is asked for, is the second derivative by each feature's weights, mean over
        the classes.
        """
        count, beside, width, classes = weights_GKRC.shape
        weights_GRM = weights_GKRC.transpose(1, 2).reshape(count, width, beside * classes).to(self.rows.dtype)
        step = BLOCK_ROWS if self.rows.laid_out else _block_rows(beside * classes, self.rows.device.type)
        laid_out = None if self.rows.laid_out is None else self.rows.laid_out.weights(weights_GRM[0])
        together = max(1, step // max(1, self.rows.count)) if count > 1 else 1
        blocks = range(0, self.rows.count, step)
        stripe = max(1, -(-len(blocks) // STRIPES))
        parts = [
            (range(first, min(first + together, count)), blocks[start : start + stripe])
            for first in range(0, count, together)
            for start in range(0, len(blocks), stripe)
        ]

        def work(part: _Part) -> _Sums:
            members, starts = part
            own = [groups[member] for member in members]
            weights = weights_GRM[members.start : members.stop] if laid_out is None else laid_out
            return self._sum(
                own, weights, beside, [(start, min(start + step, self.rows.count)) for start in starts], curved
            )

        losses_GK = torch.zeros(count, beside, dtype=torch.float64, device=self.rows.device)
        gradient_GRM = torch.zeros(weights_GRM.shape, dtype=torch.float64, device=self.rows.device)
        curvature_GKR = losses_GK.new_zeros(count, beside, width) if curved else None
        for (members, _), (losses, gradient, curvature) in zip(parts, self.threads.map(work, parts), strict=True):
            losses_GK[members.start : members.stop] += losses
            gradient_GRM[members.start : members.stop] += gradient
            if curvature_GKR is not None:
                curvature_GKR[members.start : members.stop] += curvature
        return losses_GK, gradient_GRM.view(count, width, beside, classes).transpose(1, 2), curvature_GKR

    def _sum(
        self, groups: Sequence[int], weights: torch.Tensor, beside: int, blocks: Sequence[tuple[int, int]], curved: bool
    ) -> _Sums:
        sums: list[torch.Tensor] = []
        for start, stop in blocks:
            if self.rows.laid_out:
                block: Plain | LaidOutBlock = self.rows.laid_out.blocks[start // BLOCK_ROWS]
            else:
                block = Plain(self.rows.block(groups, start, stop))
            logits_GnM = block.ahead(weights)
            logits_GnKC = logits_GnM.unflatten(2, (beside, self.classes))
            found = [
                self._losses(logits_GnKC, self._targets[list(groups), start:stop]),
                block.back(logits_GnM).double(),
            ]
            if curved:
                found.append(_curvature(block.rows(), logits_GnKC))
            sums = found if not sums else [total.add_(more) for total, more in zip(sums, found, strict=True)]
        return sums[0], sums[1], sums[2] if curved else sums[0]

    def intercept_curvature(self, group: int, weights_RC: torch.Tensor) -> torch.Tensor:
        """Second derivatives by the intercept (C, C), float64: diag(sum p) - P'P of a softmax, diag(sum p (1 - p)) else."""
        total_CC = torch.zeros(self.classes, self.classes, dtype=torch.float64, device=self.rows.device)
        weights_1RC = weights_RC[None].to(self.rows.dtype)
        step = _block_rows(self.classes, self.rows.device.type)
        for start in range(0, self.rows.count, step):
            block = Plain(self.rows.block([group], start, min(start + step, self.rows.count)))
            logits_nC = block.ahead(weights_1RC)[0].double()
            if self.loss == "sigmoid":
                shares_nC = logits_nC.sigmoid()
                bent_nC = shares_nC * (1 - shares_nC)
                if self._silent:
                    bent_nC *= self._targets[group, start : start + step] >= 0
                total_CC += torch.diag(bent_nC.sum(0))
            else:
                shares_nC = logits_nC.softmax(dim=1)
                total_CC += torch.diag(shares_nC.sum(0)) - shares_nC.T @ shares_nC
        return total_CC

    def _losses(self, logits_GnKC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses summed over rows (G, K) float64; the logits are overwritten by their gradient."""
        if self.loss == "sigmoid":
            wanted_Gn1C = targets.unsqueeze(2).to(logits_GnKC.dtype)
            losses = torch.nn.functional.softplus(logits_GnKC) - wanted_Gn1C * logits_GnKC
            logits_GnKC.sigmoid_().sub_(wanted_Gn1C)
            if self._silent:
                said_Gn1C = targets.unsqueeze(2) >= 0
                losses, _ = losses * said_Gn1C, logits_GnKC.mul_(said_Gn1C)
            return losses.sum(dim=(1, 3), dtype=torch.float64)
        right_GnK1 = targets[:, :, None, None].expand(-1, -1, logits_GnKC.shape[2], 1)
        logits_GnKC.sub_(logits_GnKC.amax(dim=3, keepdim=True))
        spoken_GnK1 = logits_GnKC.gather(3, right_GnK1)
        # The other classes are summed without the right one: 1 - p of a sure answer would be lost to rounding.
        others_GnK1 = logits_GnKC.exp_().scatter_(3, right_GnK1, 0.0).sum(dim=3, keepdim=True)
        right_share_GnK1 = spoken_GnK1.exp()
        losses_GnK1 = torch.where(
            spoken_GnK1 == 0, others_GnK1.log1p(), (others_GnK1 + right_share_GnK1).log() - spoken_GnK1
        )
        total_GnK1 = right_share_GnK1.add_(others_GnK1)
        logits_GnKC.div_(total_GnK1).scatter_(3, right_GnK1, others_GnK1.div_(total_GnK1).neg_())
        return losses_GnK1.sum(dim=(1, 3), dtype=torch.float64)


def _curvature(rows_GnR: torch.Tensor, slopes_GnKC: torch.Tensor) -> torch.Tensor:
    """(G, K, R), float64: sum of x^2 times the mean over classes of p (1 - p), as a slope is p, or p - 1 of the right class."""
    size_GnKC = slopes_GnKC.abs()
    share_GnK = (size_GnKC - size_GnKC.square()).mean(dim=3)
    return torch.bmm(share_GnK.transpose(1, 2), rows_GnR.square()).double()


def _block_rows(columns: int, device: str) -> int:
    """A power of two, so that the same rows meet in a block whatever else changes."""
    fitting = max(1, BLOCK_LOGITS.get(device, BLOCK_LOGITS["cpu"]) // columns)
    return max(LEAST_ROWS, 1 << (fitting.bit_length() - 1))
