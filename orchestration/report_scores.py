"""From an evaluation's Report to what a page shows of it: which scores stand first, and matrices and curves with titles."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.report import HEADLINE, Report, Score, headline

NOT_FRACTIONS = ("rank", "loss", "perplexity", "seconds")
PROTOCOLS = ("zero_shot", "own_classes", "linear_probe", "robustness", "retrieval")


@dataclass(frozen=True)
class Confusion:
    """Counts of test pictures: rows are true classes, columns predicted ones."""

    title: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Robustness:
    """Accuracy per corruption at severity 1, 2, ..., and `clean` without any."""

    title: str
    curves: dict[str, Sequence[float]]
    clean: float | None = None

    @property
    def severities(self) -> int:
        return max((len(values) for values in self.curves.values()), default=0)


def spoken(name: str) -> str:
    """A protocol, metric or variant as words."""
    return name.replace("_", " ")


def label(score: Score) -> str:
    """ "digits · zero shot · top1"; where a protocol has several headlines its variant too, "digits · few shot · 4 shots · top1",
    and for retrieval the direction says more than the protocol."""
    middle = [score.protocol, score.variant]
    if score.protocol == "retrieval":
        middle = [score.variant]
    elif len(HEADLINE.get(score.protocol, ())) == 1:
        middle = [score.protocol]
    return " · ".join(spoken(part) for part in (score.task, *middle, score.metric))


def is_fraction(score: Score) -> bool:
    """Whether the score is read in per cent."""
    bounded = min(score.value, score.low) >= 0 and max(score.value, score.high) <= 1
    return bounded and not any(word in score.metric for word in NOT_FRACTIONS)


def main_scores(report: Report) -> list[Score]:
    """The result table: the evaluation's own headline, zero-shot first."""
    return sorted(headline(report), key=_protocol_place)


def card_scores(report: Report, most_per_protocol: int = 2) -> list[Score]:
    """The numbers on top of the page: the first tasks of each protocol, each by its own metric."""
    metrics = report.config.get("metrics", {})
    chosen: list[Score] = []
    for score in main_scores(report):
        same = sum(other.protocol == score.protocol for other in chosen)
        if same < most_per_protocol and score.metric == metrics.get(score.task, score.metric):
            chosen.append(score)
    return chosen


def confusions(report: Report) -> list[Confusion]:
    """One matrix per task and protocol that has one, zero-shot of all tasks first."""
    found = [
        (protocol, Confusion(f"{task}, {spoken(protocol)}", found["classes"], found["confusion"]))
        for task, by_protocol in report.details.items()
        for protocol, found in by_protocol.items()
        if "confusion" in found
    ]
    order = [*PROTOCOLS, *sorted({protocol for protocol, _ in found} - set(PROTOCOLS))]
    return [matrix for protocol, matrix in sorted(found, key=lambda pair: order.index(pair[0]))]


def robustness(report: Report) -> list[Robustness]:
    """In memory first, then what is stored, which is another setting."""
    found = []
    for protocol, setting in (("robustness", "zero shot"), ("stored_corruptions", "zero shot, stored pictures")):
        for task, values in report.found(protocol, "curves").items():
            curves: dict[str, Sequence[float]] = {
                name: tuple(curve) for name, curve in values.items() if isinstance(curve, list | tuple)
            }
            found.append(Robustness(f"{task}, {setting}", curves, values.get("clean")))
    return found


def templates(report: Report) -> dict[str, dict[str, float]]:
    """task -> template -> accuracy with this one prompt."""
    rows = report.found("zero_shot", "templates")
    return {task: {row["template"]: row["value"] for row in found} for task, found in rows.items()}


def overlap_rows(report: Report) -> list[tuple[str, ...]]:
    """The cells of the overlap table, one row per task and protocol: numbers in per cent, p as it is."""

    def percent(value: float | None, signed: bool = False) -> str:
        return "-" if value is None else f"{100 * value:{'+' if signed else ''}.2f}"

    found: list[tuple[str, ...]] = []
    for row in report.overlaps:
        interval = f" ({percent(row['low'], True)} to {percent(row['high'], True)})" if row["low"] is not None else ""
        p = "-" if row["p_value"] is None else f"{row['p_value']:.3g}{' *' if row['significant'] else ''}"
        found.append(
            (
                f"{row['task']} · {spoken(row['protocol'])} · {spoken(row['variant'])}",
                f"{row['overlapping']:,} of {row['pictures']:,}" + (", removed" if row["removed"] else ""),
                percent(row["all"]),
                percent(row["clean"]),
                percent(row["overlap"]),
                percent(row["all_minus_clean"], True) + interval,
                p,
            )
        )
    return found


def _protocol_place(score: Score) -> int:
    return PROTOCOLS.index(score.protocol) if score.protocol in PROTOCOLS else len(PROTOCOLS)
