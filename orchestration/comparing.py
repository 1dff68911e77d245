"""Two runs side by side: their reports found, compared, and shown as tables or as a page with the flipped pictures."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.compare import Comparison, Flip, compare
from evaluation.report import NAME, OUTCOMES_NAME, Report
from orchestration import journal, show
from orchestration.contact_sheet import thumbnail
from orchestration.pages import templates
from orchestration.visible import visible
from pipeline import storage
from pipeline.errors import ConfigError, DataError

MOST_DRAWN = 48
"""Flipped pictures drawn per task, protocol and variant; --json has all."""
SIDE_PIXELS = 112
NUMBERS = ("first", "second", "second - first", "95 % interval")
HEADINGS = ("task", "protocol", "variant", "metric", *NUMBERS, "p", "p, Holm", "")
AVERAGE_HEADINGS = ("mean over", "set", "protocol", "variant", *NUMBERS)


@dataclass(frozen=True)
class Compared:
    comparison: Comparison
    first: Report
    second: Report


def report_folder(place: str) -> str:
    """Where the evaluation of a run lies: `place` itself, or what the run's journal names. Raises DataError elsewhere."""
    if storage.exists(storage.join(place, OUTCOMES_NAME)):
        return place
    file = Path(place) / journal.NAME
    if not file.exists():
        raise DataError(
            f"{place}: holds no {NAME} with {OUTCOMES_NAME} and is no run; give the folder of a run or evaluation"
        )
    named = [
        event.body["path"]
        for event in journal.read(file)
        if event.kind == "artifact" and os.path.basename(event.body["path"]) == NAME
    ]
    root = file.parents[2]
    for path in reversed(named):
        folder = os.path.dirname(path if os.path.isabs(path) or "://" in path else str(root / path))
        if storage.exists(storage.join(folder, OUTCOMES_NAME)):
            return folder
    raise DataError(f"{place}: this run has no finished evaluation; end it with `openwit evaluate`")


def compare_runs(first: str, second: str) -> Compared:
    """Raises DataError where a run has no evaluation, or the two have no task in common."""
    one, other = (Report.load(report_folder(place)) for place in (first, second))
    return Compared(compare(one, other), one, other)


def print_comparison(found: Compared, html: str | None) -> None:
    """Scores, what was not compared, how many pictures flipped."""
    told = found.comparison
    show.rows(HEADINGS, [_line(row) for row in told.rows])
    if told.averages:
        print()
        show.rows(AVERAGE_HEADINGS, [_average_line(row) for row in told.averages])
    if told.apart:
        print()
        show.rows(
            ("not compared", "protocol", "why"),
            [(each["task"], each["protocol"], each["reason"]) for each in told.apart],
        )
    print(f"\n{len(told.flips):,} flipped pictures" + (f", drawn in {html}" if html else "; see them with --html FILE"))


def _line(row: Any) -> Sequence[str]:
    ends = f"{row.low:+.4f} to {row.high:+.4f}"
    numbers = (
        f"{row.first:.4f}",
        f"{row.second:.4f}",
        f"{row.difference:+.4f}",
        ends,
        f"{row.p_value:.3g}",
        f"{row.p_holm:.3g}",
    )
    return (row.task, row.protocol, row.variant, row.metric, *numbers, row.verdict)


def _average_line(row: Mapping[str, Any]) -> Sequence[str]:
    ends = f"{row['low']:+.4f} to {row['high']:+.4f}"
    numbers = (f"{row['first']:.4f}", f"{row['second']:.4f}", f"{row['difference']:+.4f}", ends)
    return (f"{row['tasks']} tasks", row["covers"], row["protocol"], row["variant"], *numbers)


def write_page(path: str, first: str, second: str, found: Compared) -> None:
    """One HTML file that needs nothing else. Raises ConfigError where it cannot be written."""
    groups: dict[tuple[str, str, str], list[Flip]] = {}
    for flip in found.comparison.flips:
        groups.setdefault((flip.task, flip.protocol, flip.variant), []).append(flip)
    drawn = [
        {
            "title": " · ".join(part.replace("_", " ") for part in key),
            "count": len(flips),
            "flips": [_drawn(flip, found) for flip in flips[:MOST_DRAWN]],
        }
        for key, flips in groups.items()
    ]
    names = [visible(os.path.basename(place.rstrip("/")), 80) for place in (first, second)]
    page = templates().get_template("compare.html.jinja").render(
        names=names, told=found.comparison, groups=drawn, rows=[_line(row) for row in found.comparison.rows],
        averages=[_average_line(row) for row in found.comparison.averages],
    )  # fmt: skip
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(page, "utf-8")
    except OSError as error:
        raise ConfigError(f"--html {path}: cannot be written ({error.strerror}); choose another place") from error


def _drawn(flip: Flip, found: Compared) -> dict[str, Any]:
    words = {name: visible(str(getattr(flip, name)), 60) for name in ("id", "label", "first", "second")}
    return words | {"better": flip.better, "uri": _picture(flip, found)}


def _picture(flip: Flip, found: Compared) -> str | None:
    """The picture made anew, small; None where it is not at hand any more, or the flip is of a sentence."""
    from evaluation.catalog.benchmarks import find
    from evaluation.pictures.pictures import load

    if flip.variant == "text_to_image":
        return None
    try:
        task = find(flip.task)
        pictures = load(task.loader, task.split)
        file = io.BytesIO()
        pictures.read(flip.index).convert("RGB").save(file, "PNG")
    except (ConfigError, DataError, KeyError, IndexError, OSError):
        return None
    small = thumbnail(file.getvalue(), SIDE_PIXELS)
    return None if small is None else "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii")
