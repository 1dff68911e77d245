"""What is kept of the answers behind a score: the rows of a report's outcomes, and the number per picture that it is a mean of.

A score's rows bear its variant; those of draws ("4 shots, seed 1") stand for their mean; terms of a mean that is not one of right
answers bear "metric/variant"; CLIP's bias probe keeps all groups of people together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.protocols.bias import CRIME, NON_HUMAN
from evaluation.report import Report, Score
from evaluation.statistics.compared import Means, Measured, clusters_of, measured
from evaluation.statistics.drawn import Drawn

Key = tuple[str, str, str]
KEY = ("task", "protocol", "variant")
SEED = ", seed "
"""Between a variant and the draw that its rows are of."""
PEOPLE = {"non_human": NON_HUMAN, "crime": CRIME}
WHY_NOT = {
    "effective_robustness": "follows from the accuracies on the shift and its reference, which are compared",
    "corruption_error": "is the accuracy under this corruption divided by AlexNet's, which is compared",
    "trustworthiness": "is about a map of features, not about answers",
    "temperature": "confidences under a fitted temperature are not kept per picture",
    "layers": "only the answers of the best layer and of the joined ones are kept",
    "stored_corruptions": "answers are kept per corruption, over its severities",
}
"""By metric, variant or protocol: why a score has no answers to compare."""


@dataclass(frozen=True)
class Evidence:
    """The rows behind one score, a frame per draw in the order of their pictures, and under which key they are kept."""

    key: Key
    draws: tuple[pd.DataFrame, ...]
    drawn: bool = False
    """Whether the draws are of pictures to learn from, and others might have been drawn."""

    @property
    def rows(self) -> pd.DataFrame:
        return self.draws[0]


def grouped(report: Report) -> dict[Key, pd.DataFrame]:
    """The outcomes of a report by task, protocol and variant, each in the order of its pictures."""
    table = report.outcomes.to_pandas()
    return {
        (str(key[0]), str(key[1]), str(key[2])): rows.sort_values("index", kind="stable").reset_index(drop=True)
        for key, rows in table.groupby(list(KEY), sort=False)
    }


def evidence(score: Score, kept: Mapping[Key, pd.DataFrame]) -> Evidence | None:
    """What is kept of this score; None where nothing is."""
    start = (score.task, score.protocol)
    for variant in (f"{score.metric}/{score.variant}", score.variant):
        if (*start, variant) in kept:
            return Evidence((*start, variant), (kept[(*start, variant)],))
    if score.metric in PEOPLE:
        variant, _, group = score.variant.partition("/")
        rows = kept.get((*start, variant))
        if rows is None:
            return None
        here = rows["group"].map(lambda own: group == "all" or group in own.split("|"))
        return Evidence((*start, score.variant), (rows[here].reset_index(drop=True),))
    draws = [key for key in kept if key[:2] == start and key[2].startswith(score.variant + SEED)]
    return Evidence((*start, score.variant), tuple(kept[key] for key in draws), True) if draws else None


def per_picture(score: Score, found: Evidence, classes: Sequence[str]) -> Measured | Drawn | None:
    """The score as a function of its pictures; None where the rows do not hold what it needs."""
    if found.key[2].startswith(f"{score.metric}/") or score.metric == "kept":
        terms_N = found.rows["value"].to_numpy(np.float64)
        span = (min(0.0, float(terms_N.min())), max(1.0, float(terms_N.max())))
        return Means(terms_N, span=span, clusters=clusters_of(found.rows))
    if score.metric in PEOPLE:
        return Means(found.rows["prediction"].isin(PEOPLE[score.metric]).to_numpy().astype(np.float64))
    if score.metric == "either_cue":
        return Means(found.rows["value"].notna().to_numpy().astype(np.float64))
    draws = [measured(score.metric, rows, classes) for rows in found.draws]
    there = tuple(each for each in draws if each is not None)
    if len(there) < len(draws):
        return None
    return Drawn(there) if found.drawn else there[0]


def why_not(score: Score) -> str:
    """Why a score has no answers to compare."""
    for word in (score.metric, score.variant, score.protocol):
        if word in WHY_NOT:
            return WHY_NOT[word]
    return "no answer per picture is kept of it"
