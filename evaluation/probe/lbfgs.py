"""L-BFGS for many smooth convex problems at once: one evaluation per round serves all of them, finished ones are dropped.

Each problem keeps its own m = 10 last steps and its own line search, so its path is the one it would take alone. The
two-loop recursion runs on inner products (Liu and Nocedal 1989, Math. Prog. 45; in the form of Chen, Wang and Zhou 2014,
"Large-scale L-BFGS using MapReduce": a direction is a combination of the stored vectors, so a round is three matrix products).
The line search brackets a step that meets the weak Wolfe conditions (Nocedal and Wright 2006, section 3.1).

B = problems, P = parameters of one, m = steps remembered. Vectors are float64 on the problem's device, scalars NumPy's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

MEMORY = 10
DECREASE, CURVATURE = 1e-4, 0.9
TRIALS = 30
"""Of one line search; a search that needs more has reached the precision of the machine."""
NOISE = {torch.float64: 1e-14, torch.float32: 3e-8}
"""Relative rounding of a sum of losses, by the type of its addends; a rise of no more than this is none."""
HIDDEN = 6
"""Times that rounding: what a step is expected to gain at least, where the search goes on."""

Evaluate = Callable[[NDArray[np.int64], torch.Tensor], tuple[NDArray[np.float64], torch.Tensor]]
"""(which problems (b,), points (b, P)) -> (values (b,), gradients (b, P))."""
Finished = Callable[[NDArray[np.int64], NDArray[np.float64], torch.Tensor, NDArray[np.float64]], NDArray[np.bool_]]
"""(which problems (b,) have moved, values (b,), gradients (b, P), what the model of the curvature expects the next step to gain
(b,)) -> which are near enough."""
Renew = Callable[[NDArray[np.int64]], torch.Tensor | None]
"""Which problems (b,) have just moved -> None, or how many times longer their parameters' units are from now on (b, P)."""


@dataclass(frozen=True)
class Minima:
    """`points` (B, P), `values` (B,), `gradients` (B, P); evaluations and steps of each problem (B,), which are `finished` (B,)."""

    points: torch.Tensor
    values: NDArray[np.float64]
    gradients: torch.Tensor
    evaluations: NDArray[np.int64]
    steps: NDArray[np.int64]
    finished: NDArray[np.bool_]


class _History:
    """The last steps s and changes of gradient y of each problem, with all their inner products."""

    def __init__(self, gradient_BP: torch.Tensor, dtype: torch.dtype) -> None:
        count, width = gradient_BP.shape
        self.gradient = gradient_BP
        self.basis = gradient_BP.new_zeros(count, 2 * MEMORY + 1, width, dtype=dtype)
        self.basis[:, -1] = gradient_BP
        self.inner = np.zeros((count, 2 * MEMORY + 1, 2 * MEMORY + 1))
        self.inner[:, -1, -1] = (gradient_BP * gradient_BP).sum(1).cpu().numpy()
        self.length = np.zeros(count, np.int64)
        self._next = np.zeros(count, np.int64)

    def keep(self, rows: NDArray[np.int64]) -> None:
        at = torch.as_tensor(rows, device=self.basis.device)
        self.basis, self.gradient = self.basis[at], self.gradient[at]
        self.inner, self.length, self._next = self.inner[rows], self.length[rows], self._next[rows]

    def forget(self, rows: NDArray[np.int64]) -> None:
        self.length[rows] = 0

    def add(self, rows: NDArray[np.int64], step_bP: torch.Tensor, gradient_bP: torch.Tensor) -> None:
        """A step was taken in `rows`, to a point of this gradient."""
        at = torch.as_tensor(rows, device=self.basis.device)
        change_bP = (gradient_bP - self.gradient[at]).to(self.basis.dtype)
        self.gradient = self.gradient.index_copy(0, at, gradient_bP)
        slot = self._next[rows]
        where = torch.as_tensor(slot, device=self.basis.device)
        self.basis[at, where] = step_bP.to(self.basis.dtype)
        self.basis[at, where + MEMORY] = change_bP
        self.basis[at, -1] = gradient_bP.to(self.basis.dtype)
        new_bP3 = torch.stack([self.basis[at, where], change_bP, self.basis[at, -1]], dim=2)
        whole = len(rows) == len(self.basis)
        products_bK3 = torch.bmm(self.basis if whole else self.basis[at], new_bP3).cpu().numpy()
        for column, place in enumerate((slot, slot + MEMORY, np.full_like(slot, 2 * MEMORY))):
            self.inner[rows, place, :] = products_bK3[:, :, column]
            self.inner[rows, :, place] = products_bK3[:, :, column]
        self._next[rows] = (slot + 1) % MEMORY
        self.length[rows] = np.minimum(self.length[rows] + 1, MEMORY)

    def stretch(self, rows: NDArray[np.int64], times_bP: torch.Tensor) -> None:
        """The units of the parameters of `rows` are so many times longer: steps get shorter, gradients longer."""
        at = torch.as_tensor(rows, device=self.basis.device)
        self.gradient = self.gradient.index_copy(0, at, self.gradient[at] * times_bP)
        times_b1P = times_bP.to(self.basis.dtype)[:, None]
        own_bKP = self.basis[at]
        own_bKP[:, :MEMORY] /= times_b1P
        own_bKP[:, MEMORY:] *= times_b1P
        self.basis[at] = own_bKP
        self.inner[rows] = torch.bmm(own_bKP, own_bKP.transpose(1, 2)).cpu().numpy()

    def directions(self) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """Towards the minimum of each problem's model (B, P), and the slope there (B,), negative."""
        rows = np.arange(len(self.basis))
        coefficients_BK = np.zeros((len(rows), 2 * MEMORY + 1))
        coefficients_BK[:, -1] = 1
        alphas, longest = [], int(self.length.max(initial=0))
        for back in range(longest):
            slot, valid = (self._next - 1 - back) % MEMORY, self.length > back
            curvature = np.where(valid, self.inner[rows, slot, slot + MEMORY], 1.0)
            alpha = np.where(valid, (self.inner[rows, slot] * coefficients_BK).sum(1) / curvature, 0.0)
            coefficients_BK[rows, slot + MEMORY] -= alpha
            alphas.append((slot, valid, curvature, alpha))
        newest = (self._next - 1) % MEMORY
        squared = self.inner[rows, newest + MEMORY, newest + MEMORY]
        known = (self.length > 0) & (squared > 0)
        scale = np.where(known, self.inner[rows, newest, newest + MEMORY] / np.where(known, squared, 1.0), 1.0)
        coefficients_BK *= scale[:, None]
        for slot, valid, curvature, alpha in reversed(alphas):
            beta = (self.inner[rows, slot + MEMORY] * coefficients_BK).sum(1) / curvature
            coefficients_BK[rows, slot] += np.where(valid, alpha - beta, 0.0)
        weights = torch.as_tensor(-coefficients_BK, device=self.basis.device).to(self.basis.dtype)
        directions_BP = torch.bmm(weights[:, None], self.basis)[:, 0].double()
        return directions_BP, (directions_BP * self.gradient).sum(1).cpu().numpy()


class _Search:
    """One line search per problem: the step to try, and the bracket that holds an acceptable one."""

    def __init__(self, count: int, noise: float) -> None:
        self.noise = noise
        self.step, self.low, self.high = np.ones(count), np.zeros(count), np.full(count, np.inf)
        self.low_value, self.low_slope = np.zeros(count), np.zeros(count)
        self.value, self.slope = np.zeros(count), np.zeros(count)
        self.trials = np.zeros(count, np.int64)

    def keep(self, rows: NDArray[np.int64]) -> None:
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                setattr(self, name, values[rows])

    def begin(self, rows: Any, values: NDArray[np.float64], slopes: NDArray[np.float64]) -> None:
        self.step[rows], self.low[rows], self.high[rows], self.trials[rows] = 1.0, 0.0, np.inf, 0
        self.value[rows] = self.low_value[rows] = values
        self.slope[rows] = self.low_slope[rows] = slopes

    def judge(self, values: NDArray[np.float64], slopes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which steps are taken; the others get their next one."""
        self.trials += 1
        rise = self.value + DECREASE * self.step * self.slope + self.noise * np.abs(self.value)
        long = ~(values <= rise)
        short = ~long & (slopes < CURVATURE * self.slope)
        span = self.step - self.low
        with np.errstate(all="ignore"):
            # Too long: the minimum of the cubic through both values and both slopes (Nocedal and Wright 2006, 3.59). A parabola
            # lies far too near where the curvature grows along the step, as it does after a long one, and small steps follow.
            bent = self.low_slope + slopes - 3 * (values - self.low_value) / span
            root = np.sqrt(bent**2 - self.low_slope * slopes)
            cubic = 1 - (slopes + root - bent) / (slopes - self.low_slope + 2 * root)
            inside = self.low + np.clip(np.nan_to_num(cubic, nan=0.1), 0.1, 0.9) * span
            # Too short: where the slope would vanish if it went on changing as it did.
            secant = self.step + span * slopes / (self.low_slope - slopes)
        beyond = np.clip(np.nan_to_num(secant, nan=np.inf, posinf=np.inf), 1.5 * self.step, 64 * self.step)
        between = np.clip(secant, self.step + 0.1 * (self.high - self.step), self.step + 0.9 * (self.high - self.step))
        after = np.where(np.isinf(self.high), beyond, np.nan_to_num(between, nan=1.0))
        self.high = np.where(long, self.step, self.high)
        self.low_value = np.where(short, values, self.low_value)
        self.low_slope = np.where(short, slopes, self.low_slope)
        self.low = np.where(short, self.step, self.low)
        self.step = np.where(long, inside, np.where(short, after, self.step))
        return ~long & ~short


def minimise(
    evaluate: Evaluate,
    start_BP: torch.Tensor,
    finished: Finished,
    most_evaluations: int,
    dtype: torch.dtype,
    renew: Renew = lambda _: None,
) -> Minima:
    """Minimise B problems from `start_BP`, each until it is `finished`, until rounding hides progress (no step is found, or twice
    running the model of the curvature expects to gain less than rounding changes), or until `most_evaluations`. Steps and
    changes of gradients are remembered in `dtype`, which is that of the objective's addends."""
    total = len(start_BP)
    alive = np.arange(total)
    values, gradient_BP = evaluate(alive, start_BP)
    out = Minima(
        start_BP.clone(), values.copy(), gradient_BP.clone(), np.ones(total, np.int64), np.zeros(total, np.int64),
        np.zeros(total, bool),
    )  # fmt: skip
    quiet = np.zeros(total, np.int64)
    history, search = _History(gradient_BP, dtype), _Search(total, NOISE[dtype])
    point_BP = start_BP.clone()

    def stretch(rows: NDArray[np.int64], at: torch.Tensor, places: torch.Tensor) -> None:
        times_bP = renew(alive[rows])
        if times_bP is not None:
            history.stretch(rows, times_bP)
            point_BP[at] /= times_bP
            out.points[places], out.gradients[places] = point_BP[at], history.gradient[at]

    everyone = torch.arange(total, device=start_BP.device)
    stretch(alive, everyone, everyone)
    direction_BP, slopes = history.directions()
    search.begin(slice(None), values, slopes)
    done = finished(alive, values, history.gradient, -slopes / 2)
    out.finished[alive[done]] = True
    while True:
        if done.any():
            kept = np.flatnonzero(~done)
            at = torch.as_tensor(kept, device=start_BP.device)
            alive, values, point_BP, direction_BP = alive[kept], values[kept], point_BP[at], direction_BP[at]
            history.keep(kept)
            search.keep(kept)
        if not len(alive):
            return out
        steps = torch.as_tensor(search.step, device=start_BP.device)[:, None]
        trial_BP = point_BP + steps * direction_BP
        found, gradient_BP = evaluate(alive, trial_BP)
        out.evaluations[alive] += 1
        taken = search.judge(found, (gradient_BP * direction_BP).sum(1).cpu().numpy())
        # Where a search finds nothing, first the memory may be wrong; without memory it is the machine's precision.
        lost = ~taken & (search.trials >= TRIALS)
        stuck = lost & (history.length == 0)
        history.forget(np.flatnonzero(lost))
        moved = np.flatnonzero(taken)
        if len(moved):
            at = torch.as_tensor(moved, device=start_BP.device)
            history.add(moved, (trial_BP - point_BP)[at], gradient_BP[at])
            point_BP = torch.where(torch.as_tensor(taken, device=start_BP.device)[:, None], trial_BP, point_BP)
            values = np.where(taken, found, values)
            places = alive[moved]
            everywhere = torch.as_tensor(places, device=start_BP.device)
            out.points[everywhere], out.gradients[everywhere] = trial_BP[at], gradient_BP[at]
            out.values[places] = found[moved]
            out.steps[places] += 1
            stretch(moved, at, everywhere)
        fresh = np.flatnonzero(taken | lost)
        done = stuck | (out.evaluations[alive] >= most_evaluations)
        if len(fresh):
            new_BP, slopes = history.directions()
            at = torch.as_tensor(fresh, device=start_BP.device)
            direction_BP = direction_BP.index_copy(0, at, new_BP[at])
            search.begin(fresh, values[fresh], slopes[fresh])
            expected = -slopes[fresh] / 2
            hidden = expected <= HIDDEN * NOISE[dtype] * np.abs(values[fresh])
            quiet[alive[fresh]] = np.where(hidden, quiet[alive[fresh]] + 1, 0)
            enough = finished(alive[fresh], values[fresh], history.gradient[at], expected)
            out.finished[alive[fresh[enough]]] = True
            done[fresh] |= enough | (quiet[alive[fresh]] >= 2)
