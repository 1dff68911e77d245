"""From an evaluation's Report to what the page shows beyond scores: plots by section, tables, and small pictures.

Every part is there only where the report has its data: a protocol that was not asked for leaves no trace.
"""

import base64
import csv
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import evaluation.published
from evaluation.catalog.suites import SUITES
from evaluation.protocols.bias import in_order
from evaluation.published.tables import tables
from evaluation.report import OUTCOMES, Report, Score
from evaluation.statistics.intervals import Interval, joined
from orchestration import plots_inside, plots_probe, plots_robustness
from orchestration.plot import Plot
from orchestration.visible import visible

SPOKES = 3
"""A suite of fewer measured tasks is no radar."""
PROTOCOLS_OF_SUITES = ("zero_shot", "linear_probe")


OF_THE_MODEL = ("suites", "compute", "inside")
"""Sections whose plots are of the model, or of several benchmarks, whatever is measured."""


class Tile(NamedTuple):
    """A small picture with its words; `image` is a JPEG or PNG."""

    image: bytes
    caption: str

    @property
    def uri(self) -> str:
        kind = "png" if self.image.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64," + base64.b64encode(self.image).decode("ascii")


def of_task(report: Report, task: str) -> Report:
    """What the report says of one benchmark; the outcomes of all pictures are left out."""
    return replace(
        report,
        scores=tuple(score for score in report.scores if score.task == task),
        outcomes=OUTCOMES.empty_table(),
        details={task: report.details[task]} if task in report.details else {},
        absent=(),
        overlaps=tuple(row for row in report.overlaps if row["task"] == task),
    )


def evaluation_plots(report: Report, gflops: float | None = None) -> dict[str, list[Plot]]:
    """Section -> its plots."""
    return {
        "suites": [plots_probe.suite_radar(name, values) for name, values in _suites(report)],
        "compute": list(_compute(report, gflops)) if gflops else [],
        "shifts": [
            plots_robustness.shift_plane(shift, point)
            for points in report.found("natural_shift", "points").values()
            for shift, point in points.items()
        ],
        "occlusion": [
            plots_robustness.occlusion_curves(task, report.details[task]["occlusion"]["whole"], curves)
            for task, curves in report.found("occlusion", "curves").items()
        ],
        "cues": [
            plots_robustness.cue_bars(task, report.details[task]["shape_bias"]["bias"], classes)
            for task, classes in report.found("shape_bias", "classes").items()
        ],
        "groups": [
            plots_robustness.group_shares(task, variant, {group: groups[group] for group in in_order(groups)})
            for variant in ("as_published", "with_child")
            for task, groups in report.found("bias", variant).items()
        ],
        "overlap": [plots_robustness.overlap_effects(report.overlaps)]
        if any(row["overlapping"] for row in report.overlaps)
        else [],
        "penalty": list(_penalties(report)),
        "layers": list(_layers(report)),
        "shots": [
            plots_probe.shot_curves(
                f"{task}, {protocol.replace('_', ' ')}", found["values"], _ends(report, task, protocol, found["values"])
            )
            for task, protocol, found in _each(report)
            if protocol.startswith("few_shot") and _is_curves(found.get("values"))
        ],
        "reliability": list(_reliabilities(report)),
        "inside": _inside(report),
        "maps": [plots_inside.feature_map(task, found) for task, found in report.found("inside", "map").items()],
    }


def _each(report: Report) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for task, by_protocol in report.details.items():
        for protocol, found in by_protocol.items():
            yield task, protocol, found


def _penalties(report: Report) -> Iterator[Plot]:
    searches = {
        task: (search, float(report.details[task]["linear_probe"]["penalty"]))
        for task, search in report.found("linear_probe", "search").items()
        if len(search) > 1
    }
    if searches:
        yield plots_probe.penalty_curves(searches)


def _reliabilities(report: Report) -> Iterator[Plot]:
    """One picture per protocol, for all of its tasks."""
    by_protocol: dict[str, dict[str, Mapping[str, Any]]] = {}
    for task, protocol, found in _each(report):
        if found.get("calibration", {}).get("bins"):
            by_protocol.setdefault(protocol.replace("_", " "), {})[task] = found["calibration"]
    for protocol, calibrations in by_protocol.items():
        yield plots_probe.reliability(protocol, calibrations)


def _layers(report: Report) -> Iterator[Plot]:
    for task, protocol, found in _each(report):
        layers = found.get("layers", found.get("curve"))
        if (
            isinstance(layers, Mapping)
            and len(layers) > 2
            and all(isinstance(each, Mapping) for each in layers.values())
        ):
            name = task if protocol == "linear_probe" else f"{task}, {protocol.replace('_', ' ')}"
            yield plots_probe.layer_curve(name, layers, found.get("layer", found.get("best")))


def _is_curves(values: Any) -> bool:
    """name -> shots -> value, for more than one number of shots."""
    return isinstance(values, Mapping) and any(isinstance(each, Mapping) and len(each) > 1 for each in values.values())


def _ends(
    report: Report, task: str, protocol: str, values: Mapping[str, Any]
) -> dict[str, dict[str, tuple[float, float]]]:
    """name -> shots -> ends of the interval of the task's own metric, where the report has the score."""
    metric = report.config.get("metrics", {}).get(task)
    scores = {
        score.variant: (score.low, score.high)
        for score in report.scores
        if (score.task, score.protocol, score.metric) == (task, protocol, metric)
    }
    variants = {
        name: {shots: f"{shots} shots" if name == "zero" else f"{shots} shots, from {name}" for shots in found}
        for name, found in values.items()
        if isinstance(found, Mapping)
    }
    return {
        name: {shots: scores[variant] for shots, variant in own.items() if variant in scores}
        for name, own in variants.items()
    }


def _inside(report: Report) -> list[Plot]:
    """Filters, positions and distances belong to the model: the first task that has them tells all."""
    parts: Mapping[str, Any] = next((by["inside"] for by in report.details.values() if "inside" in by), {})
    found = [plots_inside.filters(parts["filters"])] if parts.get("filters", {}).get("components") else []
    found += [plots_inside.positions(parts["positions"])] if "positions" in parts else []
    return found + (
        [plots_inside.distances(parts["distances"], parts["square_pixels"])] if "distances" in parts else []
    )


def tiles(report: Report) -> dict[str, list[Tile]]:
    """ "attention", "mistakes" and "confused": pictures of all tasks with what the model made of them."""
    found: dict[str, list[Tile]] = {"attention": [], "mistakes": [], "confused": []}
    shown: set[str] = set()  # several tasks may ask about the same pictures
    for task, seen in report.found("inside", "attention").items():
        new = [each for each in seen if each["picture"] not in shown]
        shown |= {each["picture"] for each in new}
        found["attention"] += [Tile(plots_inside.attended(each["picture"], each["reaches"]), task) for each in new]
    for task, rows in report.found("inside", "mistakes").items():
        for row in rows:
            said = f"{task}: {row['label']} called {row['answer']}, {100 * row['confidence']:.0f} % sure"
            found["mistakes"].append(Tile(base64.b64decode(row["picture"]), visible(said, 140)))
    for task, rows in report.found("inside", "confused").items():
        for row in rows:
            said = f"{task}: {row['count']} of {row['of']} {row['label']} called {row['answer']}"
            found["confused"].append(Tile(base64.b64decode(row["picture"]), visible(said, 140)))
    return found


def own_scores(report: Report, protocol: str) -> dict[str, Score]:
    """task -> its own metric under this protocol, of the headline's kind."""
    variants = {"zero_shot": "ensemble", "linear_probe": "test"}
    metrics = report.config.get("metrics", {})
    return {
        score.task: score
        for score in report.scores
        if (score.protocol, score.variant) == (protocol, variants.get(protocol))
        and score.metric == metrics.get(score.task)
    }


def _suites(report: Report) -> list[tuple[str, dict[str, dict[str, float]]]]:
    found = []
    for suite, tasks in SUITES.items():
        values = {}
        for protocol in PROTOCOLS_OF_SUITES:
            scores = own_scores(report, protocol)
            here = {task: scores[task].value for task in tasks if task in scores}
            if len(here) >= SPOKES:
                values[protocol] = here
        if values:
            found.append((suite, values))
    return found


@functools.cache
def image_gflops() -> dict[str, float]:
    """architecture -> GFLOPs of its image tower per picture (open_clip, docs/model_profile.csv)."""
    path = Path(next(iter(evaluation.published.__path__))) / "image_gflops.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["architecture"]: float(row["image_gflops"]) for row in csv.DictReader(file)}


def _compute(report: Report, gflops: float) -> Iterator[Plot]:
    """Per protocol the mean error over the tasks that somebody has published too, beside every model that has all of them."""
    for protocol in PROTOCOLS_OF_SUITES:
        mine = {score.name: score for score in own_scores(report, protocol).values()}
        common = sorted(name for name in mine if any(name in scores for scores in tables().values()))
        if not common:
            continue
        known = _published_errors(common)
        mean = joined([Interval(mine[name].value, mine[name].low, mine[name].high) for name in common])
        words = f"{protocol.replace('_', ' ')}, {len(common)} task{'' if len(common) == 1 else 's'}"
        yield plots_probe.compute_plane(words, known, (gflops, 1 - mean.value, 1 - mean.high, 1 - mean.low))


def _published_errors(names: Sequence[str]) -> list[tuple[str, float, float]]:
    rows = []
    for model, scores in tables().items():
        architecture = model.split(" ")[0]
        if architecture in image_gflops() and all(name in scores for name in names):
            error = 1 - sum(scores[name][0].value for name in names) / len(names)
            rows.append((model, image_gflops()[architecture], error))
    return rows
