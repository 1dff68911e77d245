"""report.html and report.json: one run's facts as a page that a reviewer reads and as a value that a program reads.

The page is one file that needs nothing else: style inline, pictures as data: URIs, plots as inline SVG, no script. Its
content security policy forbids every load, so it can stand in MLflow's sandboxed frame or on a stranger's disk. Captions
and URLs come from the web: they are cleaned by `visible`, escaped by the template, isolated in direction, and never links.
"""

from dataclasses import asdict
from typing import Any

from evaluation.notes import notes_of
from evaluation.report import Report
from orchestration.contact_sheet import contact_sheet
from orchestration.evaluation_views import of_task, tiles
from orchestration.pages import templates
from orchestration.report_data import ReportData, compare
from orchestration.report_scores import is_fraction, spoken
from orchestration.report_view import MOST_KEPT, MOST_PER_REASON, plots_by_section, plots_by_task, thinned, view
from orchestration.report_words import count_text, duration_text, percent_text, score_text, size_text
from orchestration.visible import visible
from pipeline.execution.ledger import Fate

MOST_TILES = 72


def build_html(data: ReportData) -> str:
    """The whole page. Equal data give equal text."""
    environment = templates()
    environment.tests["fraction"] = is_fraction
    environment.filters.update(
        count=count_text,
        duration=duration_text,
        size=size_text,
        percent=percent_text,
        score=score_text,
        spoken=spoken,
    )
    return environment.get_template("report.html.jinja").render(page=view(data), data=data)


def build_json(data: ReportData) -> dict[str, Any]:
    """The same facts as plain JSON values: `results` is the same for the same recipe, `measured` is this run's own."""
    comparison = compare(data)
    return {
        "format": "openwit.report/1",
        "recipe": data.recipe,
        "results": {
            "created_from": dict(data.created_from),
            "steps": [{"name": step.name, "id": step.id, "config": dict(step.config)} for step in data.steps],
            "lineage": {name: list(inputs) for name, inputs in data.lineage.items()},
            "fates": {p: {u: _plain_fate(f) for u, f in units.items()} for p, units in data.fates.items()},
            "planted": [asdict(row) | {"equal": row.equal} for row in comparison],
            "balance": asdict(data.balance) if data.balance else None,
            "dataset": asdict(data.dataset) if data.dataset else None,
            "evaluation": _plain_evaluation(data.evaluation) if data.evaluation else None,
            "samples": {
                "kept": [visible(sample.caption) for sample in data.kept],
                "dropped": {
                    reason: [
                        {"caption": visible(s.caption), "url": visible(s.url), "evidence": visible(s.evidence)}
                        for s in rows
                    ]
                    for reason, rows in sorted(data.dropped.items())
                },
            },
        },
        "measured": {
            "run_id": data.run_id,
            "reproduce": data.reproduce,
            "seconds": {step.name: step.seconds for step in data.steps},
            "states": {step.name: step.state for step in data.steps},
            "recovered": dict(data.recovered),
            "training": [dict(row) for row in thinned(data.training)],
            "while_training": [dict(row) for row in data.while_training],
            "environment": dict(data.environment),
            "peak_memory_bytes": data.peak_memory_bytes,
            "total_seconds": data.total_seconds,
        },
    }


def build_pictures(data: ReportData) -> dict[str, bytes]:
    """File name -> PNG: the report's plots and contact sheets as artifacts of their own, but for plots of one benchmark alone."""
    elsewhere = {(plot.name, plot.alt) for plots in plots_by_task(data).values() for plot in plots}
    found = {
        f"{plot.name}.png": plot.png()
        for group in plots_by_section(data).values()
        for plot in group
        if (plot.name, plot.alt) not in elsewhere
    }
    if data.kept:
        kept = [(sample.image, sample.caption) for sample in data.kept[:MOST_KEPT]]
        found["contact-sheet-kept.png"] = contact_sheet(kept, columns=9, title=f"{data.recipe}: kept")
    found |= _sheets(data.evaluation, data.recipe) if data.evaluation else {}
    fallen = [
        (sample.image, f"{reason}: {sample.caption}")
        for reason, samples in data.dropped.items()
        for sample in [s for s in samples if s.image][:MOST_PER_REASON]
    ]
    if fallen:
        found["contact-sheet-dropped.png"] = contact_sheet(fallen, columns=9, title=f"{data.recipe}: dropped")
    return found


def build_task_pictures(data: ReportData) -> dict[str, dict[str, bytes]]:
    """Benchmark -> file name -> PNG: what is drawn of it alone, for its own run in the tracker."""
    return {
        task: {f"{plot.name}.png": plot.png() for plot in plots} | _sheets(of_task(data.evaluation, task), task)
        for task, plots in plots_by_task(data).items()
        if data.evaluation
    }


def _sheets(report: Report, title: str) -> dict[str, bytes]:
    return {
        f"contact-sheet-{name}.png": contact_sheet(
            [(tile.image, tile.caption) for tile in shown[:MOST_TILES]], columns=6, title=f"{title}: {name}"
        )
        for name, shown in tiles(report).items()
        if shown
    }


def _plain_fate(fate: Fate) -> dict[str, Any]:
    return {"rows_in": fate.rows_in, "kept": fate.kept, "reasons": dict(fate.reasons)}


def _plain_evaluation(report: Report) -> dict[str, Any]:
    return {
        "id": report.id,
        "checkpoint_id": report.checkpoint_id,
        "versions": dict(report.versions),
        "scores": [asdict(score) for score in report.scores],
        "details": {task: dict(found) for task, found in report.details.items()},
        "absent": [dict(row) for row in report.absent],
        "notes": [asdict(note) for note in notes_of(report)],
        "overlaps": [dict(row) for row in report.overlaps],
    }
