"""How many labels per class a probe needs to be as good as no label at all (Radford et al. 2021, figure 7).

The probe's score between two measured numbers of labels is taken to grow with the logarithm of their number.
"""

import itertools
import math
from collections.abc import Mapping
from statistics import mean, median
from typing import Any

from evaluation.report import Report


def labels_to_match(values: Mapping[float, float], target: float) -> float | None:
    """Labels per class at which the curve `labels -> value` first reaches `target`.

    The smallest number measured where that is good enough already (so "at most"), None where the whole curve stays below.
    """
    points = sorted(values.items())
    if not points or max(value for _, value in points) < target:
        return None
    if points[0][1] >= target:
        return points[0][0]
    for (few, low), (many, high) in itertools.pairwise(points):
        if low < target <= high:
            share = (target - low) / (high - low)
            return math.exp(math.log(few) + share * (math.log(many) - math.log(few)))
    raise AssertionError("a curve that reaches its target has a first place where it does")


def data_efficiency(report: Report) -> dict[str, Any]:
    """From a report with few_shot and zero_shot scores: task -> labels per class to match zero-shot; median and mean.

    The linear probe on all training pictures is the last point of a curve where it was measured on the same task. "ends" has
    the labels that match the ends of zero-shot's interval, None where the curve never gets there; "fewest" the smallest number
    measured, which stands for "at most so many". Tasks whose probe never
    gets there count in `unmatched`, not in median and mean, which say nothing of other tasks and so have no interval.
    """
    curves: dict[str, dict[float, float]] = {}
    for task, values in report.found("few_shot", "values").items():
        curves[task] = {float(shots): value for shots, value in values.get("zero", {}).items()}
    for task, per_class in report.found("few_shot", "labels_per_class").items():
        for score in report.scores:
            own = (task, "linear_probe", "test", report.config["metrics"][task])
            if (score.task, score.protocol, score.variant, score.metric) == own:
                curves[task][float(per_class)] = score.value
    zero_shot = {
        score.task: score
        for score in report.scores
        if score.protocol == "zero_shot"
        and score.variant == "ensemble"
        and score.metric == report.config["metrics"][score.task]
    }
    both = {task: (curve, zero_shot[task]) for task, curve in curves.items() if curve and task in zero_shot}
    labels = {task: labels_to_match(curve, score.value) for task, (curve, score) in both.items()}
    matched = [value for value in labels.values() if value is not None]
    return {
        "labels_per_class": labels,
        "ends": {
            task: [labels_to_match(curve, end) for end in (score.low, score.high)]
            for task, (curve, score) in both.items()
        },
        "fewest": {task: min(curve) for task, (curve, _) in both.items()},
        "median": median(matched) if matched else None,
        "mean": mean(matched) if matched else None,
        "unmatched": sorted(task for task, value in labels.items() if value is None),
    }
