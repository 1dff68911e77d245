"""Rows of feature arrays that are read a block at a time: memory-mapped files stay on disk, parts are joined without a copy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

READ_ROWS = 8192
LARGEST = 1e18
"""Of a feature: its square still is a float32."""


@dataclass(frozen=True)
class View:
    """The rows at `positions` of `parts`, one below the other; slices of it are arrays."""

    parts: Sequence[NDArray[np.floating]]
    positions: NDArray[np.int64]

    @staticmethod
    def whole(*parts: NDArray[np.floating]) -> "View":
        return View(parts, np.arange(sum(map(len, parts))))

    def at(self, positions: NDArray[np.int64]) -> "View":
        """Some of these rows; a mask or positions among them."""
        return View(self.parts, self.positions[positions])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.positions), int(self.parts[0].shape[1])

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: slice) -> NDArray[np.floating]:
        wanted = self.positions[rows]
        if len(self.parts) == 1:
            return np.asarray(self.parts[0][wanted])
        out = np.empty((len(wanted), self.shape[1]), np.result_type(*(part.dtype for part in self.parts)))
        first = 0
        for part in self.parts:
            here = (wanted >= first) & (wanted < first + len(part))
            out[here] = part[wanted[here] - first]
            first += len(part)
        return out


Matrix = NDArray[np.floating] | View
"""Anything with a shape whose slices are arrays of rows."""


def blocks(features_ND: Matrix) -> Iterator[tuple[slice, NDArray[np.floating]]]:
    """All rows, READ_ROWS at a time."""
    for start in range(0, len(features_ND), READ_ROWS):
        rows = slice(start, min(start + READ_ROWS, len(features_ND)))
        yield rows, np.asarray(features_ND[rows])


def check_finite(features_ND: Any, what: str) -> None:
    """Raises DataError naming `what` and the first row that has a NaN, an infinity, or a number whose square is one."""
    for rows, block_nD in blocks(features_ND):
        bad_n = ~(np.abs(block_nD) < LARGEST).all(axis=1)
        if bad_n.any():
            row = rows.start + int(bad_n.argmax())
            raise DataError(
                f"{what}: features of picture {row} are NaN, infinite or above {LARGEST:g}, so no classifier can be fitted to them;"
                " the checkpoint has diverged, or its numbers overflow in evaluate.features.precision"
            )
