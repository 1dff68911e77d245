"""What is told while work goes on: numbers to any Progress, more to one that has methods for it (orchestration/progress.py)."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) as work goes on."""


def tell(progress: Progress, what: str, fates: Mapping[str, Any], telemetry: Mapping[str, int]) -> None:
    """Hand a finished item's fates by unit (ledger.Fate) and telemetry to a progress that has a method `note`."""
    note = getattr(progress, "note", None)
    if note is not None:
        note(what, {unit: asdict(fate) for unit, fate in fates.items()}, telemetry)


def met(progress: Progress, what: str, counts: Mapping[str, int]) -> None:
    """Hand on what fetches met so far (words of pipeline.web.taxonomy, all that went before included) to one with `met`."""
    take = getattr(progress, "met", None)
    if take is not None:
        take(what, counts)


def silent(done: int, total: int, what: str) -> None:
    """The Progress that shows nothing."""
