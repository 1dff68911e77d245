"""Two runs side by side: their reports found, compared, and shown as tables or as a page with the flipped pictures."""

import base64
import functools
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.compare import compare
from evaluation.comparison import Comparison, Flip, reasons
from evaluation.pictures.pictures import Pictures
from evaluation.published.ledger import Entry, ledger
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
HEADINGS = ("task", "protocol", "variant", "metric", "n", *NUMBERS, "p", "p, Holm", "")
SHIFT_HEADINGS = ("shift", "on the reference", "relative robustness", "95 % interval", "effective, first", "second")
AVERAGE_HEADINGS = ("mean over", "set", "protocol", "variant", "metric", *NUMBERS)


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


def compare_published(place: str, model: str) -> list[Entry]:
    """Raises ConfigError where nothing is published of such a model, DataError where nothing of it was measured."""
    entries = ledger(Report.load(report_folder(place)), model)
    if not entries:
        raise DataError(f"{place}: has no score that was published of {model}")
    return entries


def print_ledger(entries: Sequence[Entry]) -> None:
    """Each measured number, once, beside each published one, and its mark."""
    before = ["", *(entry.score for entry in entries)]
    lines = [
        (
            *(("", "", "") if entry.score == last else _measured(entry)),
            f"{entry.published:.4f}",
            entry.table,
            f"{entry.difference:+.4f}",
            entry.verdict if entry.reason is None else f"{entry.verdict}: {entry.reason}",
        )
        for entry, last in zip(entries, before, strict=False)
    ]
    show.rows(("score", "measured", "99.5 % interval", "published", "by", "measured - published", ""), lines)
    marks = Counter(entry.verdict for entry in entries)
    print("\n" + ", ".join(f"{count} {mark}" for mark, count in sorted(marks.items())))
    for reason, says in sorted({entry.reason: entry.says for entry in entries if entry.reason}.items()):
        print(f"{reason}: {says}")


def _measured(entry: Entry) -> tuple[str, str, str]:
    return entry.score, f"{entry.measured:.4f}", f"{entry.low:.4f} to {entry.high:.4f}"


def print_comparison(found: Compared, html: str | None) -> None:
    """Scores, what was not compared, how many pictures flipped."""
    told = found.comparison
    if found.first.id == found.second.id:
        print("both are the same evaluation, so no score differs\n")
    shown = [row for row in told.rows if row.headline] or told.rows
    show.rows(HEADINGS, [_line(row) for row in shown])
    if len(shown) < len(told.rows):
        print(f"\n{len(told.rows) - len(shown):,} more scores compared; --json and --html have them")
    if told.averages:
        print()
        show.rows(AVERAGE_HEADINGS, [_average_line(row) for row in told.averages])
    if told.shifts:
        print()
        show.rows(SHIFT_HEADINGS, [_shift_line(row) for row in told.shifts])
    print()
    for sentence in told.scope:
        print(sentence)
    if told.apart:
        print()
        show.rows(("why not compared", "which"), reasons(told.apart))
    print(f"\n{len(told.flips):,} flipped pictures" + (f", drawn in {html}" if html else "; see them with --html FILE"))


def _shift_line(row: Mapping[str, Any]) -> Sequence[str]:
    def signed(value: float | None) -> str:
        return "" if value is None else f"{value:+.4f}"

    ends = f"{signed(row['low'])} to {signed(row['high'])}"
    numbers = (signed(row["reference"]), signed(row["shifted"]), ends, signed(row["first"]), signed(row["second"]))
    return (f"{row['task']} {row['variant']}", *numbers)


def _line(row: Any) -> Sequence[str]:
    ends = f"{row.low:+.4f} to {row.high:+.4f}"
    numbers = (
        f"{row.pictures:,}",
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
    variant = f"{row['variant']} (one draw)" if row["draws"] == 1 else row["variant"]
    return (f"{row['tasks']} tasks", row["covers"], row["protocol"], variant, row["metric"], *numbers)


def write_page(path: str, first: str, second: str, found: Compared, datasets: str | None = None) -> None:
    """One HTML file that needs nothing else; pictures are drawn where they are at hand.

    Raises ConfigError where it cannot be written.
    """
    groups: dict[tuple[str, str, str], list[Flip]] = {}
    for flip in found.comparison.flips:
        groups.setdefault((flip.task, flip.protocol, flip.variant), []).append(flip)
    drawn = [
        {
            "title": " · ".join(part.replace("_", " ") for part in key),
            "count": len(flips),
            "flips": [_drawn(flip, _pictures(key, found.first, datasets)) for flip in flips[:MOST_DRAWN]],
        }
        for key, flips in groups.items()
    ]
    names = [visible(os.path.basename(place.rstrip("/")), 80) for place in (first, second)]
    page = templates().get_template("compare.html.jinja").render(
        names=names, told=found.comparison, groups=drawn,
        rows=[_line(row) for row in found.comparison.rows if row.headline],
        others=[_line(row) for row in found.comparison.rows if not row.headline],
        shifts=[_shift_line(row) for row in found.comparison.shifts], apart=reasons(found.comparison.apart),
        averages=[_average_line(row) for row in found.comparison.averages],
    )  # fmt: skip
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(page, "utf-8")
    except OSError as error:
        raise ConfigError(f"--html {path}: cannot be written ({error.strerror}); choose another place") from error


def _drawn(flip: Flip, pictures: Pictures | None) -> dict[str, Any]:
    words = {name: visible(str(getattr(flip, name)), 60) for name in ("id", "label", "first", "second")}
    return words | {"better": flip.better, "uri": _picture(flip, pictures)}


def _pictures(key: tuple[str, str, str], report: Report, datasets: str | None) -> Pictures | None:
    """The list that was measured; None where it is not at hand, has changed since, or sentences were asked."""
    task, protocol, variant = key
    measured = report.details.get(task, {}).get(protocol, {}).get("pictures", {}).get("identity")
    found = None if variant == "text_to_image" else _opened(task, datasets)
    return found if found is None or measured in (None, found.identity) else None


@functools.lru_cache(maxsize=1)
def _opened(name: str, datasets: str | None) -> Pictures | None:
    from evaluation.catalog.benchmarks import find
    from evaluation.pictures.open import open_pictures

    try:
        task = find(name)
        return open_pictures(task, task.split, datasets)
    except (ConfigError, DataError):
        return None


def _picture(flip: Flip, pictures: Pictures | None) -> str | None:
    """The picture made anew, small; None where it cannot be read."""
    if pictures is None or flip.index >= pictures.count:
        return None
    file = io.BytesIO()
    try:
        pictures.read(flip.index).convert("RGB").save(file, "PNG")
    except (DataError, OSError):
        return None
    small = thumbnail(file.getvalue(), SIDE_PIXELS)
    return None if small is None else "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii")
