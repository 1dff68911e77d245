"""What the page shows, computed from ReportData: the template only arranges and escapes."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evaluation.notes import notes_of
from orchestration import plots, plots_evaluation
from orchestration.contact_sheet import thumbnail
from orchestration.evaluation_tables import average_rows, efficiency_rows, group_rows, published_rows, shift_rows
from orchestration.evaluation_views import OF_THE_MODEL, evaluation_plots, of_task, tiles
from orchestration.not_measured import once_each
from orchestration.plot import Colour, Plot
from orchestration.reasons import ACTIVITY, MEANING
from orchestration.report_data import Comparison, ReportData, compare
from orchestration.report_scores import (
    card_scores,
    confusions,
    is_fraction,
    main_scores,
    overlap_rows,
    robustness,
    templates,
)
from orchestration.visible import visible
from pipeline.execution.batch import add_counts
from pipeline.execution.ledger import Fate

MOST_KEPT = 36
MOST_PER_REASON = 6
MOST_TEXT_ONLY = 3
MOST_POINTS = 1000
THUMBNAIL_SIDE = 128

CURVES = (
    ("loss", "Loss", Colour.ACCENT),
    ("accuracy", "Accuracy in the batch", Colour.ACCENT),
    ("bits_per_pixel", "Bits per pixel", Colour.ACCENT),
    ("learning_rate", "Learning rate", Colour.BLUE),
    ("gradient_norm", "Gradient norm", Colour.PLUM),
    ("logit_scale", "Logit scale", Colour.PLUM),
    ("samples_per_second", "Samples per second", Colour.GOLD),
    ("mfu", "Model FLOPs utilisation (MFU)", Colour.GOLD),
    ("data_wait_share", "Share of time spent waiting for data", Colour.GOLD),
)


def plots_by_section(data: ReportData) -> dict[str, list[Plot]]:
    """Every plot that the data has facts for, by section, with names that are unique on the page."""
    rows, evaluation = thinned(data.training), data.evaluation
    groups: dict[str, list[Plot]] = {
        "funnel": [plots.funnel(data.fates)] if data.fates else [],
        "balance": [plots.balance_curve(data.balance)] if data.balance else [],
        "sizes": [plots.size_histogram(data.dataset.sizes)] if data.dataset and data.dataset.sizes else [],
        "training": _training_plots(rows, data.while_training),
        "intervals": [],
        "confusion": [],
        "robustness": [],
        "templates": [],
    }
    if evaluation:
        fractions = [score for score in main_scores(evaluation) if is_fraction(score)]
        groups["intervals"] = [plots_evaluation.intervals(fractions)] if fractions else []
        groups["confusion"] = [plots_evaluation.confusion(matrix) for matrix in confusions(evaluation)]
        groups["robustness"] = [
            plot
            for task in robustness(evaluation)
            for plot in (plots_evaluation.robustness_map(task), plots_evaluation.robustness_curves(task))
        ]
        groups["templates"] = [plots_evaluation.template_spread(spread)] if (spread := templates(evaluation)) else []
        groups |= evaluation_plots(evaluation, data.image_gflops)
    taken: set[str] = set()
    for group in groups.values():
        for position, plot in enumerate(group):
            name = plot.name
            while name in taken:
                name += "-2"
            taken.add(name)
            group[position] = replace(plot, name=name)
    return groups


def plots_by_task(data: ReportData) -> dict[str, list[Plot]]:
    """Benchmark -> the plots of an evaluation of it alone; what is of the model or of several of them is in no list."""
    report, found = data.evaluation, dict[str, list[Plot]]()
    if report is None:
        return found
    for task in dict.fromkeys(score.task for score in report.scores):
        alone = ReportData(data.recipe, data.run_id, data.reproduce, evaluation=of_task(report, task))
        groups = plots_by_section(alone)
        found[task] = [plot for name, group in groups.items() if name not in OF_THE_MODEL for plot in group]
    return found


def _training_plots(rows: Sequence[Mapping[str, float]], measured: Sequence[Mapping[str, float]]) -> list[Plot]:
    """The loss first, what was measured while training beside it, then all else that the rows have."""
    found = [
        plots.training_curve(rows, name, title, colour)
        for name, title, colour in CURVES
        if any(row.get(name) is not None for row in rows)
    ]
    return [*found[:1], *([plots.while_training(measured)] if measured else []), *found[1:]]


def view(data: ReportData) -> dict[str, Any]:
    """What the template shows, computed: it only arranges and escapes."""
    from markupsafe import Markup

    comparison = compare(data)
    evaluation = data.evaluation
    main = main_scores(evaluation) if evaluation else []
    pictures, texts = _dropped(data)
    return {
        "cards": card_scores(evaluation) if evaluation else [],
        "main_scores": main,
        "other_scores": [score for score in evaluation.scores if score not in main] if evaluation else [],
        "overlaps": overlap_rows(evaluation) if evaluation else [],
        "versions": flattened(evaluation.versions) if evaluation else [],
        "published": published_rows(evaluation) if evaluation else [],
        "averages": average_rows(evaluation) if evaluation else [],
        "shifts": shift_rows(evaluation) if evaluation else [],
        "groups": group_rows(evaluation) if evaluation else [],
        "efficiency": efficiency_rows(evaluation) if evaluation else [],
        "tiles": tiles(evaluation) if evaluation else {},
        "absent": once_each(evaluation.absent) if evaluation else [],
        "notes": notes_of(evaluation) if evaluation else [],
        "chain": [(step, step.about or ACTIVITY.get(step.name, "")) for step in data.steps],
        "phases": _phases(data.fates, comparison),
        "planted_equal": sum(row.equal for row in comparison),
        "planted": comparison,
        "recovered": [row for row in comparison if not row.phase],
        "kept": [(_data_uri(sample.image), visible(sample.caption, 140)) for sample in data.kept[:MOST_KEPT]],
        "dropped_pictures": pictures,
        "dropped_texts": texts,
        "plots": {name: [Markup(plot.inline()) for plot in group] for name, group in plots_by_section(data).items()},
        "configs": {step.name: flattened(step.config) for step in data.steps},
        "step_ids": {step.name: step.id for step in data.steps},
        "meaning": MEANING,
        "first_loss": next((row["loss"] for row in data.training if row.get("loss") is not None), None),
        "last_loss": next((row["loss"] for row in reversed(data.training) if row.get("loss") is not None), None),
    }


def _phases(fates: Mapping[str, Mapping[str, Fate]], comparison: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The funnel: per phase and unit its bar (widths in per cent of the widest of its unit) and its reasons."""
    planted = {(row.phase, row.unit, row.reason): row for row in comparison}
    widest: dict[str, int] = {}
    for units in fates.values():
        for unit, fate in units.items():
            widest[unit] = max(widest.get(unit, 1), fate.rows_in)
    phases = []
    for phase, units in fates.items():
        for unit, fate in units.items():
            extra = [
                r.reason for r in comparison if (r.phase, r.unit) == (phase, unit) and r.reason not in fate.reasons
            ]
            ordered = sorted(fate.reasons.items(), key=lambda pair: (-pair[1], pair[0])) + [(name, 0) for name in extra]
            largest = max((number for _, number in ordered), default=1) or 1
            reasons = [
                {
                    "reason": reason,
                    "count": number,
                    "width": 100 * number / widest[unit],
                    "bar": 100 * number / largest,
                    "share": number / fate.rows_in if fate.rows_in else 0.0,
                    "shade": place % 4,
                    "planted": planted.get((phase, unit, reason)),
                }
                for place, (reason, number) in enumerate(ordered)
            ]
            width = 100 * fate.kept / widest[unit]
            phases.append({"phase": phase, "unit": unit, "fate": fate, "kept_width": width, "reasons": reasons})
    return phases


def _dropped(data: ReportData) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Groups by reason: those with pictures to show, and those that fell before there was one."""
    counts = add_counts([fate.reasons for units in data.fates.values() for fate in units.values()])
    pictures, texts = [], []
    for reason, samples in data.dropped.items():
        drawn = [(_data_uri(sample.image), sample) for sample in samples[:MOST_PER_REASON]]
        group = {"reason": reason, "count": counts.get(reason)}
        if any(uri for uri, _ in drawn):
            pictures.append(group | {"samples": drawn})
        elif samples:
            texts.append(group | {"samples": list(samples[:MOST_TEXT_ONLY])})
    return pictures, texts


def _data_uri(image: bytes | None) -> str | None:
    """A small JPEG as a data: URI, made anew from the pixels, so nothing of a stranger's file reaches the page."""
    small = thumbnail(image, THUMBNAIL_SIDE)
    return None if small is None else "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii")


def thinned(rows: Sequence[Mapping[str, float]], most: int = MOST_POINTS) -> list[Mapping[str, float]]:
    """At most about `most` rows, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def flattened(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested config as ("a.b", "value") lines in its own order."""
    lines: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            lines += flattened(value, f"{prefix}{key}.")
        else:
            lines.append((f"{prefix}{key}", visible(str(value), 200)))
    return lines
