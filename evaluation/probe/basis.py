"""Features seen from their mean along their principal axes: the optimum is the same, and L-BFGS gets there in fewer steps.

The unpenalised intercept takes the mean up exactly, and a rotation changes no penalty. Along an axis of variance s the loss
curves about as kappa s + lambda, kappa = (1 - 1/C) / C being the softmax's mean curvature at zero (1/4 for one logistic loss),
so scaling axis j by (kappa s_j + lambda + kappa mean(s) / 100,000)^-1/2 makes all directions alike. One eigendecomposition
serves every lambda. The share of the mean keeps axes that are all but empty from being stretched; a tenth, which helps by a
few per cent where features are rank-deficient and curvature is only known at zero, costs up to seventy times the evaluations
under small penalties where variances fall over seven orders and all axes count. Axes without any variance are left out: the
optimum has no part there.

G = groups, N = rows, D = features, R = kept axes and one constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.probe.objective import Loss, Rows
from evaluation.probe.products import LaidOut, can_be_laid_out
from evaluation.probe.rows import READ_ROWS, Matrix
from evaluation.probe.threads import Threads

FLOOR = 1e-5
LEAST_BENT = 1e-12
"""Curvature per picture that counts as one where all pictures are learned."""
LAID_OUT_BYTES = 2 << 30
"""Rows up to this size are kept in the layout of their products, at twice the memory."""
STRIP = 128
"""Rows of a square of features that are found together."""
TURNED_ROWS = 1024
"""Rows that are turned together."""
NOTHING = 1e-13
"""Share of the largest variance below which an axis is rounding."""


@dataclass(frozen=True)
class Basis:
    """`mean` (G, 1, D), orthonormal `axes` (G, D, R - 1), `spectrum` (G, R - 1): sums of squares along them; float64."""

    mean: torch.Tensor
    axes: torch.Tensor
    spectrum: torch.Tensor
    count: int
    width: int

    def scales(self, group: int, penalty: float, classes: int, loss: Loss) -> torch.Tensor:
        """(R,): the length of a unit step along each axis and along the constant."""
        curvature = 0.25 if loss == "sigmoid" else (1 - 1 / classes) / classes
        return self.units(torch.cat([self.spectrum[group], self.mean.new_tensor([self.count])]) * curvature, penalty)

    def units(self, curvature_R: torch.Tensor, penalty: float | torch.Tensor) -> torch.Tensor:
        """(..., R): the steps along which the objective curves alike, by the loss's own second derivatives (..., R)."""
        bent_R = curvature_R.clamp(min=LEAST_BENT * self.count)
        floor = FLOOR * curvature_R[..., :-1].sum(dim=-1, keepdim=True) / self.width
        return torch.cat([bent_R[..., :-1] + penalty + floor, bent_R[..., -1:] + floor], dim=-1).rsqrt()


def decompose(features_GND: Sequence[Matrix], device: torch.device, threads: Threads) -> Basis:
    """The basis of each group's rows; arrays may be memory-mapped and are read in blocks."""
    count, width = features_GND[0].shape
    means, squares = [], []
    for features_ND in features_GND:
        blocks = [slice(start, start + READ_ROWS) for start in range(0, count, READ_ROWS)]
        mean_D = sum(load(features_ND[block], device).sum(0) for block in blocks) / count
        assert isinstance(mean_D, torch.Tensor)
        means.append(mean_D)
        if count < width:
            centred_ND = load(features_ND[:], device) - mean_D
            squares.append(centred_ND.new_zeros(count, count))
            _add_products(squares[-1], centred_ND.T, threads)
        else:
            square_DD = torch.zeros(width, width, dtype=torch.float64, device=device)
            for block in blocks:
                block_nD = load(features_ND[block], device) - mean_D
                _add_products(square_DD, block_nD, threads)
            squares.append(square_DD)
    spectrum_GM, vectors_GMM = torch.linalg.eigh(torch.stack(squares))
    spectrum_GM, vectors_GMM = spectrum_GM.flip(1), vectors_GMM.flip(2)
    kept = max(1, int((spectrum_GM > NOTHING * spectrum_GM[:, :1]).sum(1).max()))
    axes_GDr = vectors_GMM[:, :, :kept]
    if count < width:
        pairs = zip(features_GND, means, axes_GDr, strict=True)
        turned = [(load(rows_ND[:], device) - mean_D).T @ vectors for rows_ND, mean_D, vectors in pairs]
        axes_GDr = torch.linalg.qr(torch.stack(turned))[0]
    return Basis(torch.stack(means)[:, None], axes_GDr, spectrum_GM[:, :kept].clamp(min=0), count, width)


def _add_products(square_MM: torch.Tensor, rows_nM: torch.Tensor, threads: Threads) -> None:
    """Adds X'X to the lower triangle, which is the one that eigh reads; strip by strip, so that threads share it out."""

    def add(start: int) -> None:
        stop = min(start + STRIP, len(square_MM))
        square_MM[start:stop, :stop] += rows_nM[:, start:stop].T @ rows_nM[:, :stop]

    list(threads.map(add, range(0, len(square_MM), STRIP)))


def rotated(features_GND: Sequence[Matrix], basis: Basis, dtype: torch.dtype, threads: Threads) -> Rows:
    """All rows in the basis, kept in memory."""
    device = basis.mean.device
    groups, count, width = len(features_GND), basis.count, basis.axes.shape[2] + 1
    whole_GNR = torch.ones(groups, count, width, dtype=dtype, device=device)
    for group, features_ND in enumerate(features_GND):

        def turn(start: int, group: int = group, features_ND: Matrix = features_ND) -> None:
            part_nD = load(features_ND[start : start + TURNED_ROWS], device) - basis.mean[group]
            whole_GNR[group, start : start + TURNED_ROWS, :-1] = (part_nD @ basis.axes[group]).to(dtype)

        list(threads.map(turn, range(0, count, TURNED_ROWS)))

    def block(wanted: Sequence[int], start: int, stop: int) -> torch.Tensor:
        if len(wanted) == 1:
            return whole_GNR[wanted[0] : wanted[0] + 1, start:stop]
        return whole_GNR[list(wanted), start:stop]

    if groups == 1 and can_be_laid_out(device, dtype) and count * width * dtype.itemsize <= LAID_OUT_BYTES:
        laid_out = LaidOut(lambda start, stop: whole_GNR[0, start:stop], count)
        return Rows(1, count, width, dtype, device, lambda _, start, stop: laid_out.rows(start, stop), laid_out)
    return Rows(groups, count, width, dtype, device, block)


def streamed(features_ND: Matrix, basis: Basis, dtype: torch.dtype) -> Rows:
    """Centred rows, read anew for each product; turning them costs more than turning the weights, so they are not turned."""
    mean_1D = basis.mean[0].to(dtype)

    def block(wanted: Sequence[int], start: int, stop: int) -> torch.Tensor:
        rows_nD = torch.ones(stop - start, basis.width + 1, dtype=dtype, device=mean_1D.device)
        rows_nD[:, :-1] = load(features_ND[start:stop], mean_1D.device, dtype) - mean_1D
        return rows_nD[None]

    return Rows(1, basis.count, basis.width + 1, dtype, mean_1D.device, block)


def load(rows: NDArray[np.floating], device: torch.device | str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """An array as a tensor of this type; memory-mapped ones are copied."""
    return torch.from_numpy(np.array(rows)).to(device=device, dtype=dtype)
