"""Each measured number beside the published one: match, explained (by which reason), or unexplained.

A match lies within the 99.5 % interval of the measured number, widened by the rounding of the published one: Clopper-Pearson
for proportions, as CLIP draws them, else the report's own interval made wider. Reasons are known differences between
protocols (`reasons.json`); one that applies explains a difference and is no excuse for a cell that nobody disputes.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from scipy.stats import norm

from evaluation.averages import averages_of
from evaluation.catalog.benchmarks import card_of
from evaluation.published.tables import Published, published, sources
from evaluation.report import Report, Score
from evaluation.statistics.intervals import CONFIDENCE, Interval, clopper_pearson
from pipeline import storage

WIDE = 0.995
PROPORTIONS = ("top1", "top1_any", "top5", "recall@1", "recall@5", "recall@10")

Verdict = Literal["match", "explained", "unexplained"]


@dataclass(frozen=True)
class Entry:
    """A measured number beside a published one; `low` and `high` are the ends of its 99.5 % interval, `difference` is measured
    minus published, `reason` the id of what explains it and `says` that reason's words."""

    score: str
    measured: float
    low: float
    high: float
    published: float
    table: str
    difference: float
    verdict: Verdict
    reason: str | None = None
    says: str = ""


@functools.cache
def reasons() -> tuple[Mapping[str, Any], ...]:
    """id, tables, scores and models (patterns), says, source; `when` names traits that must hold, `at_most` the largest
    difference that a reason for many scores explains, `except` measured scores (patterns) of which it is not true."""
    return tuple(storage.read_json(str(Path(__file__).parent / "reasons.json")))


def ledger(report: Report, model: str) -> list[Entry]:
    """Every score of the report that `model` (open_clip's name and tag) has a published figure of, in the report's order, and the
    averages of whole suites that one is of.

    Raises ConfigError where nothing is published of such a model.
    """
    figures, traits = published(model), traits_of(report, model)
    whole = [entry(score, figure, traits) for score in report.scores for figure in figures_of(score, figures)]
    means = {(average.suite, protocol, variant): average for protocol, variant, average in averages_of(report)}
    for figure in (each for several in figures.values() for each in several):
        _, protocol, metric, variant = figure.score.split("/", 3)
        suite = sources()[figure.table].get("averages", {}).get(figure.score)
        average = means.get((suite, protocol, variant))
        if average is not None and not average.missing:
            count = min(score.n for score in report.scores if score.task in average.tasks)
            mean = Score(suite, protocol, metric, variant, average.value, average.low, average.high, count)
            whole.append(entry(mean, figure, traits))
    return whole


def figures_of(score: Score, figures: Mapping[str, tuple[Published, ...]]) -> tuple[Published, ...]:
    """Those of the published `figures` that a score is set beside. Tables call a benchmark by its bare name: a variant is set
    beside those that measure as it does, and the one that is measured first beside all."""
    base, _, variant = score.task.partition("@")
    own = figures.get(score.name, ())
    if not variant:
        return own
    bare = figures.get("/".join((base, score.protocol, score.metric, score.variant)), ())
    first = bool(bare) and variant == next(iter(card_of(base).variants))
    known = {figure.table for figure in own}
    alike = (each for each in bare if first or variant in sources()[each.table]["variants"])
    return (*own, *(each for each in alike if each.table not in known))


def traits_of(report: Report, model: str) -> dict[str, str]:
    """Facts that a reason may ask for: the activation that the evaluated model runs with, and the one that the weights behind
    the published figures were trained with, which open_clip's name tells: OpenAI's and `-quickgelu` ones with QuickGELU."""
    name, _, tag = model.partition(" ")
    quick = tag == "openai" or name.endswith("-quickgelu")
    traits = {"trained_with": "quick_gelu" if quick else "gelu"}
    return traits | ({"activation": str(report.versions["activation"])} if "activation" in report.versions else {})


def entry(score: Score, figure: Published, traits: Mapping[str, str]) -> Entry:
    """One measured number beside one published one."""
    wide = wide_interval(score)
    difference = round(score.value - figure.value, 6)
    found: dict[str, Any] = {"verdict": "match"}
    if not wide.low - figure.rounding <= figure.value <= wide.high + figure.rounding:
        fitting = (each for each in reasons() if _applies(each, score, figure, traits))
        reason = next((each for each in fitting if abs(difference) <= each.get("at_most", 1)), None)
        found = {"verdict": "unexplained"}
        if reason:
            found = {"verdict": "explained", "reason": reason["id"], "says": reason["says"]}
    low, high = round(wide.low, 6), round(wide.high, 6)
    return Entry(score.name, score.value, low, high, figure.value, figure.table, difference, **found)


def wide_interval(score: Score) -> Interval:
    """The 99.5 % interval of a score."""
    if score.metric in PROPORTIONS:
        return clopper_pearson(round(score.value * score.n), score.n, WIDE)
    wider = float(norm.ppf(0.5 + WIDE / 2) / norm.ppf(0.5 + CONFIDENCE / 2))
    below, above = wider * (score.value - score.low), wider * (score.high - score.value)
    return Interval(score.value, score.value - below, score.value + above)


def _applies(reason: Mapping[str, Any], score: Score, figure: Published, traits: Mapping[str, str]) -> bool:
    if any(fnmatchcase(score.name, pattern) for pattern in reason.get("except", ())):
        return False
    fits = all(
        any(fnmatchcase(value, pattern) for pattern in reason.get(key, ["*"]))
        for key, value in (("tables", figure.table), ("scores", figure.score), ("models", figure.model))
    )
    return fits and all(traits.get(key) == value for key, value in reason.get("when", {}).items())
