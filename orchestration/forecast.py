"""From a pilot's counts to a forecast: what share stays at each stage, and rows, bytes and hours of the whole run.

A share comes with its 95 % interval (Wilson). Duplicates need a correction, because two copies meet in a sample of share f
only with f squared: a dropped share d in the sample stands for up to d / f in the whole (dropped_copies), with the interval of
the counted pairs (exact Poisson). Expected rows multiply the shares; the ends multiply too, their distances added in quadrature
on the logarithm. What a stage does to all rows of the run, not to a sample, is exact and has no interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import chi2

from evaluation.statistics.intervals import Interval, wilson
from pipeline.execution.ledger import Fate

COPIES = frozenset({"duplicate_pair", "duplicate_bytes", "near_duplicate", "near_caption", "near_embedding"})
"""Reasons that come from two rows of the run meeting."""
SMALLEST = 1e-9


@dataclass(frozen=True)
class Seen:
    """What the pilot saw of one stage. `bytes` are those of its folder, `seconds` those of all workers."""

    name: str
    unit: str
    fate: Fate
    bytes: int
    seconds: float
    exact: bool = False
    """The pilot did this stage for every row of the run."""
    alone: bool = False
    """Many workers are no faster than one here: one host sets the pace."""


@dataclass(frozen=True)
class Range:
    """A number of the whole run and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def times(self, share: Interval) -> "Range":
        """The product; both intervals count."""
        value = self.value * share.value
        if not value:
            return Range(0.0, 0.0, self.high * share.high)
        below = math.hypot(_log(self.value, self.low), _log(share.value, share.low))
        above = math.hypot(_log(self.high, self.value), _log(share.high, share.value))
        return Range(value, value * math.exp(-below), value * math.exp(above))

    def scaled(self, factor: float) -> "Range":
        return Range(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Stage:
    """The forecast of one stage."""

    name: str
    unit: str
    sampled: int
    kept: Interval
    rows_in: Range
    rows_kept: Range
    bytes: Range
    hours: Range
    reasons: Mapping[str, float]
    """The most frequent reasons and their share of the rows that come in."""


@dataclass(frozen=True)
class Forecast:
    """`candidates` says how much of each source was read; `at_least` that the whole may be larger than what is known."""

    recipe: str
    workers: int
    sample: int
    candidates: Mapping[str, Mapping[str, Any]]
    at_least: bool
    stages: tuple[Stage, ...]
    balance: Mapping[str, Any]
    rows: Range
    bytes: Range
    hours: Range
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def kept_share(fate: Fate, fraction: float, exact: bool) -> Interval:
    """The share of rows that stays, in the whole; `fraction` of the rows are in the sample."""
    if not fate.rows_in:
        return Interval(0.0, 0.0, 1.0)
    if exact:
        share = fate.kept / fate.rows_in
        return Interval(share, share, share)
    copies = sum(count for reason, count in fate.reasons.items() if reason in COPIES)
    others = fate.rows_in - fate.kept - copies
    plain = wilson(fate.rows_in - others, fate.rows_in)
    if not copies and fraction >= 1:
        return plain
    dropped = dropped_copies(copies, fate.rows_in, fraction)
    return Interval(plain.value * (1 - dropped.value), plain.low * (1 - dropped.high), plain.high * (1 - dropped.low))


def dropped_copies(copies: int, rows: int, fraction: float) -> Interval:
    """The share of rows that are copies of others in the whole, from `copies` seen among `rows` sampled ones.

    The lower end is for copies that all are of one picture, as a site's placeholder: more rows bring no larger share of them.
    The upper end is for copies that are spread evenly: every picture has as many, or half of them one and the rest none.
    """
    fraction = max(fraction, SMALLEST)
    low = float(chi2.ppf(0.025, 2 * copies)) / 2 if copies else 0.0
    high = float(chi2.ppf(0.975, 2 * copies + 2)) / 2
    return Interval(_grown(copies, rows, fraction), min(1.0, low / rows), _spread(high, rows, fraction))


def _grown(copies: float, rows: int, fraction: float) -> float:
    """The share of copies when the sample has grown to the whole: Chao's number of kinds not seen yet, f1^2 / 2 f2, of which
    more and more are met (Colwell et al. 2012, equation 9), each of `copies` taken for a kind that was met twice."""
    if not copies:
        return 0.0
    twice = min(copies, rows / 2)
    once = rows - 2 * twice
    kinds, unseen = rows - min(copies, rows), once**2 / (2 * twice)
    if unseen:
        more = rows * (1 / fraction - 1)
        kinds += unseen * -math.expm1(more * math.log1p(-once / (rows * unseen + once)))
    return min(1.0, max(0.0, 1 - kinds * fraction / rows))


def _spread(copies: float, rows: int, fraction: float) -> float:
    """The share of copies in the whole where each picture stands there k times: k such that a sample shows that many."""
    seen = min(1.0, copies / rows)
    if fraction >= 1:
        return seen

    def shown(times: float) -> float:
        return 1 + math.expm1(times * math.log1p(-fraction)) / (times * fraction)

    if seen <= shown(2.0):
        return seen / shown(2.0) / 2
    low, high = 2.0, 2 / max(SMALLEST, fraction * (1 - seen))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shown(middle) < seen else (low, middle)
    return 1 - 1 / high


def forecast_stages(
    seen: Sequence[Seen], rows: Range, fractions: Mapping[str, float], workers: int
) -> tuple[tuple[Stage, ...], Range]:
    """Stages in order from `rows` that enter the first; the rows that leave the last.

    `fractions` says for which stages copies meet in a sample, and how large its share of all rows is.
    """
    stages = []
    for each in seen:
        kept = kept_share(each.fate, fractions.get(each.name, 1.0), each.exact)
        entering = max(1, each.fate.rows_in)
        leaving = rows.times(kept)
        stages.append(
            Stage(
                each.name,
                each.unit,
                each.fate.rows_in,
                kept,
                rows,
                leaving,
                rows.scaled(each.bytes / entering),
                rows.scaled(each.seconds / entering / (1 if each.alone else max(1, workers)) / 3600),
                most_frequent(each.fate),
            )
        )
        rows = leaving
    return tuple(stages), rows


def most_frequent(fate: Fate, count: int = 4) -> dict[str, float]:
    ordered = sorted(fate.reasons.items(), key=lambda item: (-item[1], item[0]))
    return {reason: round(n / fate.rows_in, 4) for reason, n in ordered[:count] if n}


def total(ranges: Sequence[Range]) -> Range:
    return Range(sum(r.value for r in ranges), sum(r.low for r in ranges), sum(r.high for r in ranges))


def _log(large: float, small: float) -> float:
    return math.log(max(large, SMALLEST) / max(small, SMALLEST))
