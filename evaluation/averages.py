"""The averages of a report: over each suite that was asked for, and over all tasks, always said over which.

A task counts with its own metric. What an absent or broken dataset takes away is named, and the label tells the set.
"""

from collections.abc import Sequence

from evaluation.catalog.suites import SUITES
from evaluation.report import HEADLINE, Report
from evaluation.statistics.intervals import Interval
from evaluation.statistics.suite import SuiteAverage, suite_average

ALL = "all tasks"


def averages_of(report: Report) -> list[tuple[str, str, SuiteAverage]]:
    """(protocol, variant, average) for every suite all of whose tasks were asked for, and for all that was asked.

    A protocol counts the tasks that it fits: those with a score under it, and those that are absent.
    """
    metrics = report.config["metrics"]
    suites = {name: tasks for name, tasks in SUITES.items() if set(tasks) <= set(metrics)} | {ALL: tuple(metrics)}
    found: list[tuple[str, str, SuiteAverage]] = []
    lists = lists_of(report)
    for protocol, variants in HEADLINE.items():
        lost = {str(row["task"]) for row in report.absent if row["protocol"] in ("", protocol)}
        for variant in variants:
            measured = {
                score.task: Interval(score.value, score.low, score.high)
                for score in report.scores
                if (score.protocol, score.variant, score.metric) == (protocol, variant, metrics.get(score.task))
            }
            for suite, average in _of_suites(suites, measured, lost, lists):
                if suite != ALL or not any(
                    (protocol, variant, average.covers) == (*key, other.covers) for *key, other in found
                ):
                    found.append((protocol, variant, average))
    return found


def lists_of(report: Report) -> dict[str, str]:
    """task -> the identity of its pictures, of tasks that tell it."""
    told = {task: [each.get("pictures", {}) for each in found.values()] for task, found in report.details.items()}
    return {
        task: next(each["identity"] for each in every if "identity" in each)
        for task, every in told.items()
        if any("identity" in each for each in every)
    }


def _of_suites(
    suites: dict[str, tuple[str, ...]], measured: dict[str, Interval], lost: set[str], lists: dict[str, str]
) -> Sequence[tuple[str, SuiteAverage]]:
    """The averages of two tasks or more."""
    made = [
        (suite, suite_average(suite, [task for task in tasks if task in measured or task in lost], measured, lists))
        for suite, tasks in suites.items()
    ]
    return [(suite, average) for suite, average in made if average is not None and len(average.tasks) > 1]
