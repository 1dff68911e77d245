"""What overlap with the training data does to a score: All - Clean, and whether Overlap is more often right than Clean.

CLIP, section 5 and appendix C (arXiv:2103.00020): a benchmark's pictures are split by the list that decontamination wrote
(pipeline/overlap/overlap_lists.py) into Overlap and Clean; the effect is the accuracy on All minus that on Clean; a one-tailed
binomial test asks whether Overlap's successes could come from Clean's accuracy, a 99.5 % Clopper-Pearson interval says how
well Overlap's accuracy is known, and Bonferroni's correction divides the level by the number of benchmarks tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike
from scipy.stats import binom

from evaluation.catalog.references import list_names
from evaluation.statistics.intervals import clopper_pearson
from pipeline import storage
from pipeline.errors import DataError
from pipeline.overlap.overlap_lists import FOLDER, SUMMARY

CONFIDENCE = 0.995
LEVEL = 0.05
PROTOCOLS = ("zero_shot", "linear_probe")


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


def effect(task: str, protocol: str, correct: ArrayLike, overlapping: ArrayLike) -> Effect:
    """The figures of one benchmark from two booleans per picture: answered right, and in the training data."""
    right, near = np.asarray(correct, bool), np.asarray(overlapping, bool)
    if right.shape != near.shape or not len(right):
        raise ValueError(f"{task}: {right.shape} answers for {near.shape} pictures")
    found = Effect(task, protocol, len(right), int(near.sum()), float(right.mean()))
    if near.all():
        return replace(found, overlap=found.all)
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
    """With `significant` decided by Bonferroni's correction, per protocol."""
    tested = {
        protocol: sum(one.p_value is not None for one in effects if one.protocol == protocol)
        for protocol in {one.protocol for one in effects}
    }
    return [
        one if one.p_value is None else replace(one, significant=one.p_value < LEVEL / tested[one.protocol])
        for one in effects
    ]


def effects_of(outcomes: pa.Table, dataset: str) -> list[dict[str, Any]]:
    """The effects of all benchmarks in a report's outcomes that the dataset in folder `dataset` has lists of.

    Figures are rounded to six significant digits. Raises DataError where a list does not fit its benchmark.
    """
    path = storage.join(dataset, SUMMARY)
    if not storage.exists(path):
        return []
    summary: Mapping[str, Any] = storage.read_json(path)
    found = []
    for protocol in PROTOCOLS:
        mine = outcomes.filter(pc.equal(outcomes.column("protocol"), protocol))
        for task in dict.fromkeys(mine.column("task").to_pylist()):
            listed = next((name for name in list_names(task) if name in summary["tasks"]), None)
            if listed is None:
                continue
            answers = mine.filter(pc.equal(mine.column("task"), task))
            near = storage.read_table(storage.join(dataset, FOLDER, listed, "overlap.parquet"), ["index"])
            indices = answers.column("index").to_numpy()
            strange = np.setdiff1d(near.column("index").to_numpy(), indices)
            if len(strange):
                raise DataError(
                    f"{storage.join(dataset, FOLDER, listed)}: lists picture {strange[0]}, which '{task}' does not have;"
                    " the lists are of another version of this benchmark, so curate again"
                )
            made = effect(task, protocol, answers.column("correct").to_numpy(zero_copy_only=False),
                          np.isin(indices, near.column("index").to_numpy()))  # fmt: skip
            found.append(replace(made, removed=summary["mode"] == "remove"))
    return [{name: _rounded(value) for name, value in asdict(one).items()} for one in corrected(found)]


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
