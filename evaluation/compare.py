"""Two reports, score by score: which differences are more than chance, and on which pictures the models disagree.

Both models answered the same pictures, so tests are paired (evaluation/statistics/paired.py); over the tasks of one protocol
their p-values are corrected by Holm. Every score of either report is compared or told why it is not: it is in one of them only,
was asked in another way or of other pictures, or nothing is kept of its answers.
"""

from typing import Any

import numpy as np
import pandas as pd

from evaluation.averages import lists_of
from evaluation.comparison import LOWER_IS_BETTER, Comparison, Flip, averages, judged, reasons, scope, shifts
from evaluation.evidence import KEY, Evidence, Key, evidence, grouped, per_picture, why_not
from evaluation.pairing import means_apart, pictures_apart, settings_apart
from evaluation.report import Report, Score, headline
from evaluation.statistics.compared import Means, Measured, difference, split
from evaluation.statistics.drawn import Drawn, difference_over_draws
from evaluation.statistics.paired import Difference
from pipeline.errors import DataError


def compare(first: Report, second: Report, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare two reports on the scores that both have. Raises DataError where not one can be compared."""
    work = _Work(first, second, resamples, seed)
    for name in dict.fromkeys((*work.scores[0], *work.scores[1])):
        work.look_at(name)
    if not work.rows:
        why = "; ".join(f"{scores}: {reason}" for reason, scores in reasons(work.apart))
        raise DataError(f"these two runs have no score that can be compared ({why or 'neither has any'})")
    rows = judged(work.rows)
    return Comparison(
        first.checkpoint_id,
        second.checkpoint_id,
        rows,
        tuple(work.apart),
        tuple(work.flips),
        tuple(averages(rows, lists_of(first))),
        tuple(shifts(rows, *work.scores)),
        tuple(scope(rows)),
    )


class _Work:
    """What is collected while scores are looked at one after the other."""

    def __init__(self, first: Report, second: Report, resamples: int, seed: int) -> None:
        self._reports, self._resamples, self._seed = (first, second), resamples, seed
        self._kept = tuple(grouped(report) for report in self._reports)
        self.scores = tuple({score.name: score for score in report.scores} for report in self._reports)
        self._has = [{(score.task, score.protocol) for score in report.scores} for report in self._reports]
        self._headline = {score.name for report in self._reports for score in headline(report)}
        self._told: dict[tuple[str, str], str | None] = {}
        self._flipped: set[Key] = set()
        self.rows: list[dict[str, Any]] = []
        self.flips: list[Flip] = []
        self.apart: list[dict[str, str]] = []

    def look_at(self, name: str) -> None:
        """Compare one score, or say why not."""
        score = self.scores[0].get(name) or self.scores[1][name]
        if self._of_protocol(score) is not None:
            return
        for scores, which in zip(self.scores, ("first", "second"), strict=True):
            if name not in scores:
                self._leave(score, f"not in the {which} run")
                return
        reason = means_apart(score, *self._reports)
        if reason:
            self._leave(score, reason)
            return
        one, other = (evidence(score, kept) for kept in self._kept)
        if one is None or other is None:
            self._leave(score, why_not(score))
            return
        reason = pictures_apart(one, other, *self._reports)
        if reason:
            self._leave(score, reason)
            return
        classes = self._reports[0].details.get(score.task, {}).get(score.protocol, {}).get("classes", [])
        first, second = (per_picture(score, each, classes) for each in (one, other))
        if score.metric == "shape_bias":
            first, second = _decided_by_both(one, other)
        if first is None or second is None:
            self._leave(score, why_not(score))
            return
        self._compared(score, one, other, first, second)

    def _of_protocol(self, score: Score) -> str | None:
        """Why nothing of this protocol can be compared on this task; said once."""
        key = (score.task, score.protocol)
        if key not in self._told:
            reason = next(
                (f"not in the {which} run" for has, which in zip(self._has, ("first", "second"), strict=True) if key not in has),
                None,
            )  # fmt: skip
            reason = reason or settings_apart(*key, *self._reports)
            self._told[key] = reason
            if reason:
                self.apart.append(dict(zip(KEY, (*key, ""), strict=True)) | {"metric": "", "reason": reason})
        return self._told[key]

    def _leave(self, score: Score, reason: str) -> None:
        row = {"task": score.task, "protocol": score.protocol, "variant": score.variant, "metric": score.metric}
        self.apart.append(row | {"reason": reason})

    def _compared(
        self, score: Score, one: Evidence, other: Evidence, first: Measured | Drawn, second: Measured | Drawn
    ) -> None:
        how = self._resamples, self._seed
        if isinstance(first, Drawn):
            assert isinstance(second, Drawn)
            found = difference_over_draws(first, second, len(one.rows), *how)
            first, second = first.mean, second.mean
        else:
            assert not isinstance(second, Drawn)
            found = difference(first, second, len(first.values) if isinstance(first, Means) else len(one.rows), *how)
        count = len(first.values) if isinstance(first, Means) else len(one.rows)
        if isinstance(first, Means) and isinstance(second, Means):
            alone = split(first.values, second.values)[:: -1 if score.metric in LOWER_IS_BETTER else 1]
        else:
            alone = split(one.rows["correct"].to_numpy(bool), other.rows["correct"].to_numpy(bool))
        own = self._reports[0].config["metrics"].get(score.task, "top1")
        self.rows.append(
            {"task": score.task, "protocol": score.protocol, "variant": score.variant, "metric": score.metric}
            | {"pictures": count, "only_first": alone[0], "only_second": alone[1]}
            | _numbers(found, (first.value, second.value))
            | {
                "draws": len(one.draws) if one.drawn else 0,
                "headline": score.name in self._headline,
                "own": score.metric == own,
            }
        )
        single = len(one.draws) == 1 and one.key[2] == score.variant
        if score.name in self._headline and single and one.key not in self._flipped:
            self._flipped.add(one.key)
            self.flips += _flips(one.key, one.rows, other.rows)


def _decided_by_both(one: Evidence, other: Evidence) -> tuple[Means | None, Means | None]:
    """Shape bias on the pictures that both models answer by a cue: each one's own pictures would not be pairs."""
    both = one.rows["value"].notna() & other.rows["value"].notna()
    if not both.any():
        return None, None
    return Means(one.rows["value"][both].to_numpy(np.float64)), Means(other.rows["value"][both].to_numpy(np.float64))


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


def _flips(key: tuple[str, str, str], one: pd.DataFrame, other: pd.DataFrame) -> list[Flip]:
    right, right_other = one["correct"].to_numpy(bool), other["correct"].to_numpy(bool)
    change = np.nan_to_num((other["margin"] - one["margin"]).to_numpy(np.float64))
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
