"""How far a journal's delivery has come, as it is known here: the copy of each store's cursor beside the journal (delivery.json).

Nothing here asks a tracker or imports mlflow; orchestration/deliver.py does the work.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration import journal
from pipeline import storage

CURSOR = "delivery.json"
EXPERIMENT = "openwit"
_MENU = "workflowType=machine_learning"


@dataclass(frozen=True)
class Delivery:
    """What a try brought: events delivered now, events still waiting, values MLflow refused for ever, and why it stopped."""

    delivered: int
    waiting: int
    refused: tuple[str, ...] = ()
    problem: str | None = None
    experiment_id: str | None = None
    runs: Mapping[str, str] = field(default_factory=dict)
    """Local run key -> MLflow run id."""

    @property
    def complete(self) -> bool:
        return self.waiting == 0

    def page(self, run: str, tab: str = "") -> str | None:
        """The run's place in MLflow's pages, behind the server's address; `tab` such as "artifacts/report.html"."""
        if run not in self.runs:
            return None
        # Without the query MLflow 3.17 shows the menu for language agents.
        return f"/#/experiments/{self.experiment_id}/runs/{'/'.join(filter(None, (self.runs[run], tab)))}?{_MENU}"


def default_uri(root: str) -> str:
    """MLFLOW_TRACKING_URI, or SQLite in the root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{journal.local_root(root)}/mlflow.db"


def standing(journal_path: Path, tracking_uri: str | None = None, experiment: str | None = None) -> Delivery:
    """What is known here of a journal's delivery, without asking the tracker (and without importing mlflow)."""
    return standing_of(target_of(journal_path, tracking_uri, experiment), None)


@dataclass(frozen=True)
class Target:
    """A journal and where it goes."""

    path: Path
    uri: str
    experiment: str

    @property
    def root(self) -> Path:
        return self.path.parents[2]

    @property
    def store(self) -> str:
        """The address without a password, as the key of its cursor."""
        return re.sub(r"//[^/@]*@", "//", self.uri)


def target_of(journal_path: Path, tracking_uri: str | None, experiment: str | None) -> Target:
    path = Path(journal_path).resolve()
    named = experiment or known(path).get("experiment") or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    return Target(path, tracking_uri or default_uri(str(path.parents[2])), named)


def known(path: Path) -> dict[str, Any]:
    """{"experiment": name, "stores": {address: cursor}} beside the journal, or nothing yet."""
    file = path.with_name(CURSOR)
    return dict(json.loads(file.read_bytes())) if file.exists() else {}


@dataclass
class Cursor:
    """How far one store has the journal: the last event, the byte after it, and the runs it made of the local keys."""

    experiment_id: str | None = None
    sequence: int = 0
    offset: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @staticmethod
    def load(target: Target) -> "Cursor":
        return Cursor(**known(target.path).get("stores", {}).get(target.store, {}))

    def save(self, target: Target) -> None:
        stores = known(target.path).get("stores", {}) | {target.store: vars(self)}
        storage.write_json(str(target.path.with_name(CURSOR)), {"experiment": target.experiment, "stores": stores})


def standing_of(target: Target, problem: str | None, delivered: int = 0) -> Delivery:
    cursor = Cursor.load(target)
    last = journal.last_event(target.path)
    waiting = max(0, (last.sequence if last else 0) - cursor.sequence)
    return Delivery(delivered, waiting, tuple(cursor.refused), problem, cursor.experiment_id, cursor.runs)
