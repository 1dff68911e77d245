"""From an evaluation's Report to the tables of the page beside its scores: averages, published figures, shifts, labels."""

from collections.abc import Mapping
from typing import Any

from evaluation.averages import averages_of
from evaluation.probe.efficiency import data_efficiency
from evaluation.protocols.bias import in_order
from evaluation.published.ledger import Entry, ledger
from evaluation.published.tables import sources
from evaluation.report import Report
from evaluation.statistics.suite import SuiteAverage


def average_rows(report: Report) -> list[tuple[str, SuiteAverage]]:
    """(protocol and variant, average) over each suite that was asked for and over all tasks; it says which are missing."""
    return [
        (f"{protocol.replace('_', ' ')}, {variant.replace('_', ' ')}", average)
        for protocol, variant, average in averages_of(report)
    ]


def published_rows(report: Report) -> list[tuple[Entry, str]]:
    """Each measured number beside the published one with its mark, where the recipe says which model this is, and the title of
    the published table."""
    model = report.config.get("published")
    if isinstance(model, Mapping):
        model = model.get("model")
    return [(entry, sources()[entry.table]["title"]) for entry in ledger(report, str(model))] if model else []


def shift_rows(report: Report) -> list[dict[str, Any]]:
    """Per natural shift and line: accuracies there and on the reference's same classes, what standard models of this reference
    accuracy have there, and the effective robustness with its interval."""
    scores = {score.name: score for score in report.scores}
    rows = []
    for score in report.scores:
        if score.metric != "effective_robustness":
            continue
        part, _, line = score.variant.rpartition("/")
        shifted = scores[f"{score.task}/natural_shift/top1/{part or 'shifted'}"]
        rows.append(
            {
                "shift": f"{score.task} {part}".strip(),
                "line": line,
                "reference": scores[f"{score.task}/natural_shift/top1/reference"],
                "shifted": shifted,
                "expected": shifted.value - score.value,
                "effective": score,
            }
        )
    return rows


def efficiency_rows(report: Report) -> list[dict[str, Any]]:
    """Per task how many labels per class a probe needs to be as good as zero-shot; the last row has median and mean."""
    told = data_efficiency(report)
    rows: list[dict[str, Any]] = [
        {
            "task": task,
            "labels": _labels(labels, told["fewest"][task]),
            "ends": " – ".join(_labels(end, told["fewest"][task]) for end in told["ends"][task]),
        }
        for task, labels in told["labels_per_class"].items()
    ]
    if len(rows) > 1 and told["median"] is not None:
        most = "at most " if any(row["labels"].startswith("at most") for row in rows) else ""
        rows.append({"task": f"median (mean) of {len(rows) - len(told['unmatched'])}",
                     "labels": f"{most}{_labels(told['median'])} ({_labels(told['mean'])})", "ends": ""})  # fmt: skip
    return rows


def _labels(count: float | None, fewest: float = 0.0) -> str:
    """The smallest number that was tried may be more than it takes."""
    if count is None:
        return "more than there are"
    return f"{'at most ' if count <= fewest else ''}{count:.1f}"


def group_rows(report: Report) -> list[dict[str, Any]]:
    """Of the bias probe, per group of people: how many pictures, and which shares of them [value, low, high] were called an
    animal or a criminal, as published and with a class `child` (CLIP, tables 6 and 7)."""
    with_child = report.found("bias", "with_child")
    return [
        {"task": task, "group": group.replace("=", ": "), "pictures": int(groups[group]["pictures"][0])}
        | {"shares": [each[group][metric] for each in (groups, with_child[task]) for metric in ("non_human", "crime")]}
        for task, groups in report.found("bias", "as_published").items()
        for group in in_order(groups)
    ]
