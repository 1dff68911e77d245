from dataclasses import replace

import pyarrow as pa
import pytest

from evaluation.averages import averages_of
from evaluation.report import OUTCOMES, Report, Score
from evaluation.statistics.suite import covers


def report(measured: list[str], absent: list[str]) -> Report:
    metrics = dict.fromkeys((*measured, *absent), "top1") | {"scenes-retrieval": "recall@1"}
    scores = [
        Score(task, "zero_shot", metric, "ensemble", n / 10, n / 10 - 0.1, n / 10 + 0.1, 100)
        for n, task in enumerate(measured)
        for metric in ("top1", "mean_per_class")
    ]
    rows = tuple({"task": name, "status": "absent", "protocol": "", "reason": "no folder"} for name in absent)
    outcomes = pa.Table.from_pylist([], schema=OUTCOMES)
    return Report("c", {"metrics": metrics}, {}, tuple(scores), outcomes, absent=rows)


def test_a_suite_with_an_absent_task_is_labelled_by_what_it_covers() -> None:
    small = ["digits", "scenes", "scenes-colour", "scenes-texture", "scenes-place"]
    ((protocol, variant, whole),) = averages_of(report(small, []))
    assert (protocol, variant, whole.label) == ("zero_shot", "ensemble", "small")
    assert whole.value == 0.2
    ((_, _, part),) = averages_of(report(small[1:], small[:1]))
    assert part.missing == ("digits",)
    assert part.label == f"small, 4 of 5 tasks ({covers(small[1:])})"


def test_what_is_no_suite_is_averaged_as_all_tasks() -> None:
    ((_, _, average),) = averages_of(report(["digits", "scenes"], []))
    assert (average.suite, average.tasks) == ("all tasks", ("digits", "scenes"))
    assert averages_of(report(["digits"], [])) == []


def test_what_another_protocol_lacks_is_not_missing_here() -> None:
    whole = report(["digits", "scenes"], [])
    for protocol, label in (("linear_probe", "all tasks"), ("zero_shot", "all tasks, 2 of 3 tasks")):
        row = {"task": "scenes-retrieval", "status": "unfit", "protocol": protocol, "reason": "has no classes"}
        ((_, _, average),) = averages_of(replace(whole, absent=(row,)))
        assert average.label.startswith(label)
        assert ("of" in average.label) == (protocol == "zero_shot")


def test_tasks_on_the_same_pictures_are_not_averaged_as_independent_ones() -> None:
    tasks = ["scenes", "scenes-colour"]
    apart = report(tasks, [])
    same = {task: {"zero_shot": {"pictures": {"identity": "one"}}} for task in tasks}
    (_, _, one), (_, _, other) = averages_of(apart)[0], averages_of(replace(apart, details=same))[0]
    assert other.value == one.value
    assert other.high - other.value == pytest.approx(0.1)
    assert one.high - one.value == pytest.approx(0.1 / 2**0.5)
