"""What overlap with the training data does to a score: All - Clean, and whether Overlap is more often right than Clean.

CLIP, section 5 and appendix C (arXiv:2103.00020): a benchmark's pictures are split by the list that decontamination wrote
(pipeline/overlap/overlap_lists.py) into Overlap and Clean; the effect is the accuracy on All minus that on Clean; a one-tailed
binomial test asks whether Overlap's successes could come from Clean's accuracy, a 99.5 % Clopper-Pearson interval says how
well Overlap's accuracy is known, and Bonferroni's correction divides the level by the number of benchmarks tested.

Every protocol that keeps what each picture was answered is looked at, by its headline variants; of draws the first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from evaluation.catalog.references import IDENTITIES, list_names
from evaluation.evidence import KEY, SEED, Key
from evaluation.report import HEADLINE
from evaluation.statistics.intervals import clopper_pearson
from pipeline import storage
from pipeline.errors import DataError
from pipeline.overlap.overlap_lists import FOLDER, SUMMARY

CONFIDENCE = 0.995
LEVEL = 0.05
VARIANTS = HEADLINE | {
    "robustness": ("clean",),
    "occlusion": ("whole",),
    "natural_shift": ("shifted", "pm-0", "pm-10"),
    "retrieval": ("image_to_text",),
}
"""Whose rows are about the task's own pictures as they are: not about texts, altered pictures or a reference."""
Details = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Effect:
    """One benchmark's figures; those that need an Overlap, or a Clean, are None where there is none.

    all_minus_clean    what the score gains by the overlap; `low` and `high`: where it would lie at the ends of the 99.5 %
                       Clopper-Pearson interval of Overlap's accuracy, Clean's taken as known
    p_value            one-tailed: so many successes or more on Overlap, if Clean's accuracy held there too
    significant        p_value below 0.05 after Bonferroni's correction over the benchmarks that have an overlap
    removed            the pictures were taken out of the training data, so no effect is to be expected
    """

    task: str
    protocol: str
    variant: str
    pictures: int
    overlapping: int
    all: float
    clean: float | None = None
    overlap: float | None = None
    overlap_low: float | None = None
    overlap_high: float | None = None
    all_minus_clean: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    significant: bool | None = None
    removed: bool = False


def effect(task: str, protocol: str, variant: str, correct: ArrayLike, overlapping: ArrayLike) -> Effect:
    """The figures of one benchmark from two booleans per picture: answered right, and in the training data."""
    right, near = np.asarray(correct, bool), np.asarray(overlapping, bool)
    if right.shape != near.shape or not len(right):
        raise ValueError(f"{task}: {right.shape} answers for {near.shape} pictures")
    found = Effect(task, protocol, variant, len(right), int(near.sum()), float(right.mean()))
    if near.all():
        value, low, high = clopper_pearson(int(right.sum()), found.pictures, CONFIDENCE)
        return replace(found, overlap=value, overlap_low=low, overlap_high=high)
    clean = float(right[~near].mean())
    if not near.any():
        return replace(found, clean=clean, all_minus_clean=0.0)
    share, successes = float(near.mean()), int(right[near].sum())
    value, low, high = clopper_pearson(successes, found.overlapping, CONFIDENCE)
    return replace(
        found,
        clean=clean,
        overlap=value,
        overlap_low=low,
        overlap_high=high,
        # All - Clean = share x (Overlap - Clean): without the subtraction of two nearly equal numbers.
        all_minus_clean=share * (value - clean),
        low=share * (low - clean),
        high=share * (high - clean),
        p_value=float(binom.sf(successes - 1, found.overlapping, clean)),
    )


def corrected(effects: Sequence[Effect]) -> list[Effect]:
    """With `significant` decided by Bonferroni's correction, per protocol and variant."""
    tested = Counter((one.protocol, one.variant) for one in effects if one.p_value is not None)
    return [
        one
        if one.p_value is None
        else replace(one, significant=one.p_value < LEVEL / tested[one.protocol, one.variant])
        for one in effects
    ]


class Found(NamedTuple):
    """`effects` as rows, figures rounded to six significant digits; `lacks`, rows of `Report.absent`: benchmarks whose list is
    of other pictures, or of the same in another order."""

    effects: list[dict[str, Any]]
    lacks: list[dict[str, str]]


def effects_of(outcomes: pa.Table, dataset: str, details: Details | None = None) -> Found:
    """The effects of all benchmarks in a report's outcomes that the dataset in folder `dataset` has lists of. `details`, those of
    the report, say which pictures were asked."""
    path = storage.join(dataset, SUMMARY)
    if not storage.exists(path):
        return Found([], [])
    summary: Mapping[str, Any] = storage.read_json(path)
    looked_at = _looked_at(outcomes)
    lists: dict[str, NDArray[np.int64]] = {}
    lacks = []
    for task in dict.fromkeys(task for task, *_ in looked_at):
        listed = next((name for name in list_names(task) if name in summary["tasks"]), None)
        if listed is None:
            continue
        try:
            _check_pictures(task, listed, dataset, (details or {}).get(task, {}))
            lists[task] = _overlapping(
                task, listed, [rows for key, rows in looked_at.items() if key[0] == task], dataset
            )
        except DataError as error:
            lacks.append({"task": task, "protocol": "overlap", "status": "broken", "reason": str(error)})
    found = []
    for key, rows in looked_at.items():
        if key[0] in lists:
            right = rows.column("correct").to_numpy(zero_copy_only=False)
            made = effect(*key, right, np.isin(rows.column("index").to_numpy(), lists[key[0]]))
            found.append(replace(made, removed=summary["mode"] == "remove"))
    return Found([{name: _rounded(value) for name, value in asdict(one).items()} for one in corrected(found)], lacks)


def _looked_at(outcomes: pa.Table) -> dict[Key, pa.Table]:
    """(task, protocol, variant) -> the rows that count: of several draws those of the first."""
    keys = outcomes.select(KEY).group_by(list(KEY), use_threads=False).aggregate([]).to_pydict()
    found: dict[Key, pa.Table] = {}
    drawn: set[Key] = set()
    for task, protocol, variant in zip(*(keys[name] for name in KEY), strict=True):
        base, draw, _ = variant.partition(SEED)
        if base not in VARIANTS.get(protocol, ()) or (draw and (task, protocol, base) in drawn):
            continue
        drawn.add((task, protocol, base))
        found[task, protocol, variant] = outcomes.filter(
            (pc.field("task") == task) & (pc.field("protocol") == protocol) & (pc.field("variant") == variant)
        )
    return found


def _check_pictures(task: str, listed: str, dataset: str, details: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises DataError where the list is known to be of other pictures than those that were asked: of another copy, whose order
    is another, or of a set of the user's that has a benchmark's name."""
    path = storage.join(dataset, FOLDER, IDENTITIES)
    known = storage.read_json(path).get(listed) if storage.exists(path) else None
    asked = {found["pictures"]["identity"] for found in details.values() if "identity" in found.get("pictures", {})}
    if known is not None and asked and known not in asked:
        raise DataError(
            f"{storage.join(dataset, FOLDER, listed)}: is a list of other pictures than those of '{task}' that were asked (another"
            " copy or layout, or a set of one's own of that name), so nothing is said of overlap; curate again beside this copy"
        )


def _overlapping(task: str, listed: str, looked_at: Sequence[pa.Table], dataset: str) -> NDArray[np.int64]:
    """Positions in the task's list of the pictures that the training data has."""
    path = storage.join(dataset, FOLDER, listed)
    near = storage.read_table(storage.join(path, "overlap.parquet"), ["index"]).column("index").to_numpy()
    asked = np.unique(np.concatenate([rows.column("index").to_numpy() for rows in looked_at]))
    strange = np.setdiff1d(near, asked)
    # Protocols that look at some pictures only tell nothing of the others.
    if len(strange) and len(asked) == asked.max() + 1:
        raise DataError(
            f"{path}: lists picture {strange[0]}, which '{task}' does not have;"
            " the lists are of another version of this benchmark, so curate again"
        )
    return np.asarray(near)


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
