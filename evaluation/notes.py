"""What a report's reader should know about a figure before trusting it: where a probe's own search or solver ended badly.

A penalty at an end of its grid was not chosen between two worse ones: the best may lie outside. A fit that used up its
evaluations, or whose bound is far above what was promised, is not the optimum that was asked for.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.probe.ladder import GRID
from evaluation.report import SOLVE, Report

PROBED = ("linear_probe", "layers")
MOST_EVALUATIONS = {"exact": 2000, "sklearn": 1000}
"""probe/solver.py's and probe/sklearn_fit.py's limit."""
CERTIFIED = 1e-5
"""Share of the objective by which a fit is proven to be near its optimum, ten times the gap that it is stopped at."""


BLIND = (
    "its pictures are frames or clips of common videos, and the names in this copy do not say of which: intervals and tests take"
    " them as independent, and are too sure; the official layout tells"
)

WITH_DIFFICULT = ("voc2007", "voc2007@official")
"""Tasks in which difficult objects count neither way, where their pictures say which these are."""
COUNTED = (
    "this copy does not say which objects are difficult, so all of them count, as in voc2007@difficult-counted; figures of the"
    " official XML files, where they count neither way, are others"
)


@dataclass(frozen=True)
class Note:
    """About one protocol on one task; `kind` for programs, `says` for people."""

    task: str
    protocol: str
    kind: Literal[
        "validation_absent",
        "penalty_at_edge",
        "penalty_undecided",
        "not_converged",
        "not_certified",
        "same_names",
        "clusters_unknown",
        "difficult_counted",
        "features_damaged",
    ]
    says: str


def notes_of(report: Report) -> list[Note]:
    """In the order of the report's tasks, then what is of no task; [] where all is well."""
    probe = report.config.get("probe", {})
    mode, precision = probe.get("mode", "exact"), probe.get("precision", "float32")
    found = []
    for task, by_protocol in report.details.items():
        blind = [name for name, each in by_protocol.items() if "clusters" in each and each["clusters"] is None]
        found += [Note(task, name, "clusters_unknown", BLIND) for name in blind[:1]]
        if task in WITH_DIFFICULT:
            counted = [name for name, each in by_protocol.items() if "classes" in each and "ignored" not in each]
            found += [Note(task, name, "difficult_counted", COUNTED) for name in counted]
        if said := _alike(by_protocol.get("zero_shot", {}).get("same_names", [])):
            found.append(Note(task, "zero_shot", "same_names", said))
        for protocol in PROBED:
            found += [Note(task, protocol, *each) for each in _of_probe(by_protocol.get(protocol, {}), mode, precision)]
    if damaged := int(report.telemetry.get("features_damaged", 0)):
        files = f"{damaged:,} files" if damaged > 1 else "a file"
        found.append(
            Note(
                "",
                "",
                "features_damaged",
                f"{files} of kept features could not be read any more and were made again: look to the disk",
            )
        )
    return found


def _alike(groups: Sequence[Sequence[str]]) -> str:
    """Classes that are asked for in the same words: of each group but the first no picture can be right."""
    return "; ".join(
        f"{', '.join(map(repr, classes))} are asked for in the same words, so only one of them can be right"
        for classes in groups
    )


def _of_probe(found: Mapping[str, Any], mode: str, precision: str) -> Iterator[tuple[Any, str]]:
    if "validation_part" in found:
        yield "validation_absent", found["validation_part"]
    if found.get("search") and "penalty" in found:
        if said := _undecided(found["search"]):
            yield "penalty_undecided", said
        elif said := _edge(float(found["penalty"])):
            yield "penalty_at_edge", said
    solve = found.get(SOLVE, {})
    if solve.get("iterations", 0) >= MOST_EVALUATIONS[mode]:
        yield (
            "not_converged",
            (
                f"the final fit used up its {MOST_EVALUATIONS[mode]:,} evaluations and is not at its optimum"
                + ("" if mode == "exact" else ", as scikit-learn's limit has it; evaluate.probe.mode=exact solves it")
            ),
        )
    elif mode == "exact" and "gap_bound" in solve and not solve["gap_bound"] <= CERTIFIED * abs(solve["objective"]):
        share = solve["gap_bound"] / abs(solve["objective"]) if solve["objective"] else math.inf
        digits = (f"{share:.{count}g}" for count in range(2, 18))
        shown = next((text for text in digits if text != f"{CERTIFIED:g}"), f"{share!r}")
        yield (
            "not_certified",
            (
                f"the final fit is proven to be within {shown} of its objective only, not {CERTIFIED:g}"
                + ("" if precision == "float64" else "; evaluate.probe.precision=float64 may get nearer")
            ),
        )


def _undecided(search: list[Mapping[str, float]]) -> str | None:
    best = max(row["validation"] for row in search)
    equal = [row["penalty"] for row in search if row["validation"] == best]
    if 2 * len(equal) <= len(search):
        return None
    return (
        f"{len(equal)} of the {len(search)} penalties tried, from {min(equal):g} to {max(equal):g}, do equally well on the"
        " validation part, which is too small or too easy to choose by; the middle one was taken"
    )


def _edge(penalty: float) -> str | None:
    ends = {float(GRID[0]): "lowest", float(GRID[-1]): "highest"}
    which = next((name for end, name in ends.items() if math.isclose(penalty, end)), None)
    return which and f"the penalty {penalty:g} is the {which} of its grid: the best one may lie beyond it"
