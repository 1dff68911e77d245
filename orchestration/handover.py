"""`openwit deliver`: what runs wrote while MLflow was away, handed over now."""

import os
from pathlib import Path
from typing import Any

from orchestration import deliver, journal, show
from pipeline.errors import DataError


def hand_over(folder: str) -> list[dict[str, Any]]:
    """Deliver the journal in `folder`, or all of them where it is a root. Raises DataError where events still wait."""
    outcomes = []
    for file in _journals(folder):
        outcome = deliver.deliver(file)
        if not outcome.complete:
            raise DataError(
                f"{file.parent.name}: {outcome.waiting} events still wait ({outcome.problem or 'no answer'});"
                " start the MLflow server, check MLFLOW_TRACKING_URI, and run this again"
            )
        outcomes.append({"run": file.parent.name, **show.plain(outcome)})
    return outcomes


def print_outcomes(outcomes: list[dict[str, Any]]) -> None:
    show.rows(("run", "delivered", "refused"), [(o["run"], o["delivered"], len(o["refused"])) for o in outcomes])


def _journals(folder: str) -> list[Path]:
    own = Path(os.path.abspath(folder)) / journal.NAME
    if own.is_file():
        return [own]
    found = journal.journals(folder) if Path(folder).is_dir() else []
    if not found:
        raise DataError(f"{folder}: no {journal.NAME} in it; give a folder such as runs/runs/<run id>, or the root")
    return found
