"""Whether a score of two reports is of the same pictures asked in the same way, and if not, what differs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.evidence import SEED, Evidence
from evaluation.report import Report, Score

NAMED = 5
"""Pictures named where two lists differ."""
LEARNED = ("probe.mode", "probe.search_gap", "probe.precision", "seed")
ALTERED = ("robustness", "seed")
SETTINGS: Mapping[str, Sequence[str]] = {
    "linear_probe": LEARNED,
    "layers": LEARNED,
    "few_shot": ("probe.mode", "probe.precision"),
    "few_shot_lsr": ("probe.lsr_penalty",),
    "knn": ("probe.temperature",),
    "robustness": ALTERED,
    "occlusion": ALTERED,
    "retrieval": ("retrieval",),
}
"""Keys of `evaluate` under which a protocol asks another question, or answers it in another way."""
FOR_ALL = ("features.precision",)


def settings_apart(task: str, protocol: str, first: Report, second: Report) -> str | None:
    """Why two runs' figures of a protocol are of different things, None where they are of the same."""
    for key in (*FOR_ALL, *SETTINGS.get(protocol, ())):
        here, there = (_at(report.config, key) for report in (first, second))
        if here != there:
            return f"evaluate.{key} is {here} in the first run and {there} in the second; evaluate both alike"
    ways = [report.versions.get(protocol) for report in (first, second)]
    if ways[0] != ways[1]:
        return f"measured in two ways: {ways[0]}, and {ways[1]}; evaluate both with one version of openwit"
    words = [report.details.get(task, {}).get(protocol, {}).get("prompts", {}) for report in (first, second)]
    if words[0].get("sha256") != words[1].get("sha256"):
        counts = [f"{each.get('sentences')} sentences of {each.get('version')}" for each in words]
        return f"the classes were put in other words: {counts[0]}, and {counts[1]}"
    prompts = [report.versions.get("prompts", {}).get(task) for report in (first, second)]
    if prompts[0] != prompts[1]:
        return f"the classes were put in other words: {prompts[0]}, and {prompts[1]}"
    return _lessons_apart(*(report.details.get(task, {}).get(protocol, {}) for report in (first, second)))


def _lessons_apart(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """Why two probes learned from different pictures, None where they did not, or where nothing is said of it."""
    here, there = first.get("learned_from", {}), second.get("learned_from", {})
    for part in ("train", "val") if here and there else ():
        one, other = here.get(part), there.get(part)
        if one == other:
            continue
        counts = [f"{each['pictures']:,}" if each else "none" for each in (one, other)]
        if counts[0] != counts[1]:
            return f"their {part} parts have {counts[0]} and {counts[1]} pictures; evaluate both on the same dataset"
        return (
            f"their {part} parts have {counts[0]} pictures each, of other content, names or labels; evaluate both on one copy"
            " of the dataset"
        )
    return None


def means_apart(score: Score, first: Report, second: Report) -> str | None:
    """Why two means are over different things, None where they are over the same (or the score is no such mean)."""
    if (score.protocol, score.variant) != ("robustness", "mean"):
        return None
    here, there = (_at(report.config, "corruptions") for report in (first, second))
    if set(here or ()) == set(there or ()):
        return None
    return f"a mean over {_listed(here)} in the first run and over {_listed(there)} in the second"


def _listed(names: Sequence[str] | None) -> str:
    return ", ".join(sorted(names or ())) or "nothing"


def _at(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def pictures_apart(one: Evidence, other: Evidence, first: Report, second: Report) -> str | None:
    """Why two sides of a score cannot be paired, None where they can."""
    if len(one.draws) != len(other.draws):
        return f"{len(one.draws)} and {len(other.draws)} draws"
    for rows, others in zip(one.draws, other.draws, strict=True):
        seeds = [str(each["variant"].iloc[0]).partition(SEED)[2] for each in (rows, others) if len(each)]
        if len(set(seeds)) > 1:
            return f"draws of seed {seeds[0]} and {seeds[1]}"
        if len(rows) != len(others):
            return f"{len(rows)} and {len(others)} pictures; {_only(rows, others)}"
        moved = np.flatnonzero((rows["id"] != others["id"]) | (rows["label"] != others["label"]))
        if len(moved):
            names = ", ".join(
                f"{rows['id'][at]} ({rows['label'][at]}) and {others['id'][at]} ({others['label'][at]})"
                for at in moved[:NAMED]
            )
            return f"{len(moved)} of {len(rows)} pictures differ: {names}"
    if _identity(first, one) != _identity(second, other):
        return "names and labels are equal, the pictures themselves are not (another copy, or rendered by other code)"
    return None


def _identity(report: Report, found: Evidence) -> str | None:
    """Of the list that the rows are of: by a part of the variant's name where a protocol asks of several."""
    task, protocol, variant = found.key
    lists = report.details.get(task, {}).get(protocol, {}).get("pictures", {})
    return next((lists[part] for part in variant.split("/") if part in lists), lists.get("identity"))


def _only(one: pd.DataFrame, other: pd.DataFrame) -> str:
    """Names of what only one of the lists has."""
    parts = []
    for name, here, there in (("first", one, other), ("second", other, one)):
        own = sorted(set(here["id"]) - set(there["id"]))
        if own:
            more = ", ..." if len(own) > NAMED else ""
            parts.append(f"only in the {name}: {', '.join(own[:NAMED])}{more}")
    return "; ".join(parts) or "some are listed twice"
