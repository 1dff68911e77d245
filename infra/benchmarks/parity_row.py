"""A row of evaluation_parity: a number or array of ours beside the peer's, and the difference that is allowed."""

from typing import Any

import numpy as np

Row = list[Any]


def row(number: int, what: str, name: str, ours: Any, theirs: Any, allowed: float) -> Row:
    """A comparison of numbers or arrays. Raises AssertionError above what is allowed."""
    mine, other = (np.asarray(each, np.float64) for each in (ours, theirs))
    difference = float(np.abs(mine - other).max())
    assert difference <= allowed, (number, what, name, difference, allowed)
    shown = [f"{float(each):.9g}" if each.ndim == 0 else f"{each.size} numbers" for each in (mine, other)]
    return [number, what, name, *shown, f"{difference:.1e}", f"{allowed:.0e}" if allowed else "0"]
