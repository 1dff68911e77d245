"""Two reports of the same tasks: which differences are more than chance, and on which pictures the models disagree.

Both models answered the same pictures, so tests are paired (evaluation/statistics/paired.py); over the tasks of one protocol
their p-values are corrected by Holm. A task whose picture lists differ is not compared, and what differs is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.pairing import KEY, grouped, unequal
from evaluation.report import Report
from evaluation.statistics.compared import RANKED, difference_of, values_of
from evaluation.statistics.intervals import Interval
from evaluation.statistics.paired import LEVEL, Difference, holm
from evaluation.statistics.suite import SuiteAverage, covers, suite_average
from pipeline.errors import DataError


@dataclass(frozen=True)
class Row:
    """One score of both runs. `difference` is second minus first; `only_first` and `only_second` count pictures that one alone
    answers right; `p_holm` is corrected over the tasks of the protocol and variant; `verdict` says it in words."""

    task: str
    protocol: str
    variant: str
    metric: str
    pictures: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    test: str
    p_value: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Flip:
    """A picture that one model answers right and the other does not. `change` is how far its margin moved."""

    task: str
    protocol: str
    variant: str
    index: int
    id: str
    label: str
    first: str
    second: str
    better: str
    change: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. `apart` has rows {task, protocol, variant, reason} of what was not compared; `flips` the flipped
    pictures by task, largest change first; `averages` both runs' means over the tasks compared, by protocol and variant."""

    first_checkpoint: str
    second_checkpoint: str
    rows: tuple[Row, ...]
    apart: tuple[Mapping[str, str], ...]
    flips: tuple[Flip, ...]
    averages: tuple[Mapping[str, Any], ...]


def compare(first: Report, second: Report, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare two reports on the tasks that both have. Raises DataError where not one can be compared."""
    ones, others = grouped(first), grouped(second)
    rows: list[dict[str, Any]] = []
    flips: list[Flip] = []
    apart: list[dict[str, str]] = []
    for key in [*ones, *(key for key in others if key not in ones)]:
        reason = unequal(key, ones, others, first, second)
        if reason:
            apart.append(dict(zip(KEY, key, strict=True)) | {"reason": reason})
            continue
        one, other = ones[key], others[key]
        asked = str(first.config["metrics"].get(key[0], "top1"))
        classes = first.details.get(key[0], {}).get(key[1], {}).get("classes", [])
        for metric in _metrics(asked, one, classes):
            found, values = difference_of(metric, one, other, classes, resamples, seed)
            rows.append(_row(key, metric, one, other) | _numbers(found, values))
        flips += _flips(key, one, other)
    if not rows:
        reasons = "; ".join(f"{each['task']}: {each['reason']}" for each in apart) or "neither has outcomes of pictures"
        raise DataError(f"these two runs have no task that can be compared ({reasons})")
    judged = _judged(rows)
    return Comparison(
        first.checkpoint_id, second.checkpoint_id, judged, tuple(apart), tuple(flips), tuple(_averages(judged))
    )


def _metrics(asked: str, rows: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """What is compared: the task's own metric where the outcomes allow it, all depths for retrieval, else accuracy."""
    if rows["probability"].isna().all():  # queries, not classified pictures
        return list(RANKED)
    return [asked if values_of(asked, rows, classes) is not None else "top1"]


def _row(key: tuple[str, str, str], metric: str, one: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    right, right_other = (each["correct"].to_numpy(bool) for each in (one, other))
    if metric in RANKED:
        right, right_other = (each["rank"].to_numpy() < RANKED[metric] for each in (one, other))
    return dict(zip(KEY, key, strict=True)) | {
        "metric": metric,
        "pictures": len(one),
        "only_first": int((right & ~right_other).sum()),
        "only_second": int((right_other & ~right).sum()),
    }


def _numbers(found: Difference, values: tuple[float, float]) -> dict[str, Any]:
    return {
        "first": values[0],
        "second": values[1],
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "test": found.test,
        "p_value": found.p_value,
    }


def _judged(rows: Sequence[dict[str, Any]]) -> tuple[Row, ...]:
    """With Holm's correction over the tasks of each protocol, variant and kind of metric, and the verdict in words."""
    adjusted = np.ones(len(rows))
    families: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        # Retrieval's depths are families of their own; classification tasks each have one metric, whichever it is.
        depth = row["metric"] if row["metric"] in RANKED else ""
        families.setdefault((row["protocol"], row["variant"], depth), []).append(place)
    for places in families.values():
        adjusted[places] = holm([rows[place]["p_value"] for place in places])
    return tuple(
        Row(**_rounded(row), p_holm=_short(float(p)), verdict=_verdict(row["difference"], float(p)))
        for row, p in zip(rows, adjusted, strict=True)
    )


def _verdict(difference: float, p: float) -> str:
    if p >= LEVEL:
        return "not distinguishable"
    return "second better" if difference > 0 else "first better"


def _flips(key: tuple[str, str, str], one: pd.DataFrame, other: pd.DataFrame) -> list[Flip]:
    right, right_other = one["correct"].to_numpy(bool), other["correct"].to_numpy(bool)
    change: NDArray[np.float32] = (other["margin"] - one["margin"]).to_numpy()
    places = sorted(np.flatnonzero(right != right_other), key=lambda row: (-abs(float(change[row])), int(row)))
    return [
        Flip(
            *key,
            int(one["index"][row]),
            str(one["id"][row]),
            str(one["label"][row]),
            str(one["prediction"][row]),
            str(other["prediction"][row]),
            "first" if right[row] else "second",
            round(float(change[row]), 4),
        )
        for row in places
    ]


def _averages(rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    """Both runs' means over the tasks compared, which carry the hash of their set, and the mean difference."""
    found: list[Mapping[str, Any]] = []
    groups = dict.fromkeys((row.protocol, row.variant, row.metric if row.metric in RANKED else "") for row in rows)
    for protocol, variant, depth in groups:
        own = [row for row in rows if (row.protocol, row.variant) == (protocol, variant) and depth in ("", row.metric)]
        if len(own) < 2:
            continue
        tasks = [row.task for row in own]
        differences = {row.task: Interval(row.difference, row.low, row.high) for row in own}
        mean = suite_average("", tasks, differences)
        assert isinstance(mean, SuiteAverage)
        found.append(
            {
                "protocol": protocol,
                "variant": variant,
                "metric": depth or "each task's own",
                "tasks": len(tasks),
                "covers": covers(tasks),
                "first": _short(sum(row.first for row in own) / len(own)),
                "second": _short(sum(row.second for row in own) / len(own)),
                "difference": _short(mean.value),
                "low": _short(mean.low),
                "high": _short(mean.high),
            }
        )
    return found


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _short(value) if isinstance(value, float) else value for name, value in row.items()}


def _short(value: float) -> float:
    return float(f"{value:.6g}")
