"""What a comparison of two reports is: its rows with their verdicts, averages over tasks, what changes under shifts, and why
other scores were not compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.report import Score
from evaluation.statistics.compared import RANKED
from evaluation.statistics.intervals import Interval
from evaluation.statistics.paired import LEVEL, holm
from evaluation.statistics.suite import SuiteAverage, covers, suite_average

LOWER_IS_BETTER = ("mce", "relative_mce", "corruption_error", "calibration_error", "non_human", "crime")
"""Metrics that count mistakes."""
ONE_DRAW = "one draw, no verdict"
"""How other draws would fall is not known from one, and not in its interval."""


@dataclass(frozen=True)
class Row:
    """One score of both runs on the `pictures` (or texts) that both answered. `difference` is second minus first; `only_first`
    and `only_second` count pictures that one alone answers right (or better, where a picture has a share); `p_holm` is corrected
    over the tasks of the protocol and variant; `verdict` says it in words; `headline`: it belongs in a result table; `draws`:
    over how many draws of pictures to learn from, 0 where none are drawn."""

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
    headline: bool
    draws: int = 0


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
    """What `compare` found. `apart` has rows {task, protocol, variant, metric, reason} of what was not compared, variant and
    metric "" for all of a protocol; `flips` the flipped pictures behind headline scores, largest change first; `averages` both
    runs' means over the tasks compared, by protocol and variant; `shifts` what a change of model does to robustness (relative
    robustness, Taori et al. 2020, arXiv:2007.00644, section 2): rows {task, variant, reference, shifted, low, high, first, second},
    differences on the reference and under the shift with its interval, and both effective robustnesses where they are there;
    `scope` says in sentences what else of the same kind the intervals and verdicts are about."""

    first_checkpoint: str
    second_checkpoint: str
    rows: tuple[Row, ...]
    apart: tuple[Mapping[str, str], ...]
    flips: tuple[Flip, ...]
    averages: tuple[Mapping[str, Any], ...]
    shifts: tuple[Mapping[str, Any], ...] = ()
    scope: tuple[str, ...] = ()


def judged(rows: Sequence[dict[str, Any]]) -> tuple[Row, ...]:
    """With Holm's correction over the tasks of each protocol, variant and kind of metric, and the verdict in words."""
    adjusted = np.ones(len(rows))
    families: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        families.setdefault((row["protocol"], row["variant"], _kind(row["metric"], row["own"])), []).append(place)
    for places in families.values():
        adjusted[places] = holm([rows[place]["p_value"] for place in places])
    return tuple(
        Row(
            **_rounded({key: row[key] for key in row if key != "own"}),
            p_holm=_short(float(p)),
            verdict=_verdict(row["metric"], row["difference"], float(p), row["draws"]),
        )
        for row, p in zip(rows, adjusted, strict=True)
    )


def _kind(metric: str, own: bool) -> str:
    """What a metric is corrected and averaged with: classification tasks each have one of their own, whichever it is; depths of
    retrieval and all other metrics go by name."""
    return "" if own and metric not in RANKED else metric


def _verdict(metric: str, difference: float, p: float, draws: int) -> str:
    if draws == 1:
        return ONE_DRAW
    if p >= LEVEL:
        return "not distinguishable"
    return "second better" if (difference > 0) != (metric in LOWER_IS_BETTER) else "first better"


def averages(rows: Sequence[Row], lists: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Both runs' means over the tasks compared, which carry the hash of their set, and the mean difference. `lists`: which pictures
    a task is about."""
    found: list[Mapping[str, Any]] = []
    shown = [row for row in rows if row.headline]
    groups = dict.fromkeys((row.protocol, row.variant, row.metric if row.metric in RANKED else "") for row in shown)
    for protocol, variant, depth in groups:
        own = [row for row in shown if (row.protocol, row.variant) == (protocol, variant) and depth in ("", row.metric)]
        if len(own) < 2 or len({row.task for row in own}) < len(own):
            continue
        tasks = [row.task for row in own]
        differences = {row.task: Interval(row.difference, row.low, row.high) for row in own}
        mean = suite_average("", tasks, differences, lists)
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
                "draws": min(row.draws for row in own),
            }
        )
    return found


def scope(rows: Sequence[Row]) -> list[str]:
    """What the intervals and verdicts of these rows cover, and what not."""
    told = ["Intervals and verdicts hold for other test pictures of the same kind; models and probes are as they are."]
    films = dict.fromkeys(row.task for row in rows if "cluster" in row.test and row.protocol != "retrieval")
    if films:
        told.append(f"Those of {', '.join(films)} hold for other videos: clips and frames of one count together.")
    told += [
        f"Shape bias of {row.task} is here that of the {row.pictures:,} pictures that both models decide by a cue; each run's own"
        " figure is of those that its model decides."
        for row in rows
        if row.metric == "shape_bias"
    ]
    drawn: dict[int, list[str]] = {}
    for row in rows:
        if row.draws and row.protocol not in drawn.setdefault(row.draws, []):
            drawn[row.draws].append(row.protocol)
    for draws, protocols in sorted(drawn.items()):
        names = " and ".join(protocols)
        told.append(
            f"Those of {names}, and their means over tasks, hold for other draws of the pictures learned from too: {draws} draws,"
            " the same for both models."
            if draws > 1
            else f"{names}: one draw of the pictures learned from; how others would fall is not in these intervals, so there is no"
            " verdict. Give evaluate.probe.seeds three or more."
        )
    return told


def shifts(rows: Sequence[Row], first: Mapping[str, Score], second: Mapping[str, Score]) -> list[Mapping[str, Any]]:
    """The change under each natural shift beside the change on its reference."""
    found: list[Mapping[str, Any]] = []
    for row in rows:
        if row.protocol != "natural_shift" or row.metric != "top1" or row.variant == "reference":
            continue
        part = "" if row.variant == "shifted" else f"{row.variant}/"
        effective = f"{row.task}/natural_shift/effective_robustness/{part}weighted"
        known = [
            each.difference
            for each in rows
            if (each.task, each.protocol, each.variant) == (row.task, row.protocol, "reference")
        ]
        found.append(
            {
                "task": row.task,
                "variant": row.variant,
                "reference": known[0] if known else None,
                "shifted": row.difference,
                "low": row.low,
                "high": row.high,
                "first": first[effective].value if effective in first else None,
                "second": second[effective].value if effective in second else None,
            }
        )
    return found


NAMED = 3
"""Scores of one protocol that are named where one reason keeps them apart; --json has all."""


def reasons(apart: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Every reason once, and the scores that it keeps apart in words: protocol, which of its scores where not all, tasks."""
    scores: dict[str, dict[tuple[str, str], list[str]]] = {}
    for row in apart:
        name = " ".join(filter(None, (row["metric"], row["variant"])))
        scores.setdefault(row["reason"], {}).setdefault((row["protocol"], row["task"]), []).append(name)
    found = []
    for reason, by_task in scores.items():
        tasks: dict[tuple[str, str], list[str]] = {}
        for (protocol, task), names in by_task.items():
            tasks.setdefault((protocol, _named(names)), []).append(task)
        said = [f"{protocol}{which} of {', '.join(each)}" for (protocol, which), each in tasks.items()]
        found.append((reason, "; ".join(said)))
    return found


def _named(names: Sequence[str]) -> str:
    whole = [name for name in dict.fromkeys(names) if name]
    more = f" and {len(whole) - NAMED:,} more" if len(whole) > NAMED else ""
    return f" {', '.join(whole[:NAMED])}{more}" if whole else ""


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _short(value) if isinstance(value, float) else value for name, value in row.items()}


def _short(value: float) -> float:
    return float(f"{value:.6g}")
