"""ReportData: the facts of one run, gathered in one value from which report.html and report.json are made.

Whoever runs the steps fills it (orchestration/flow.py); nothing here reads a disk. Rows are counted with the ledger's
`Fate`, so a report can only show numbers that add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.report import Report
from pipeline.execution.ledger import Fate

Counts = Mapping[str, Mapping[str, Mapping[str, int]]]
"""phase -> unit -> drop reason -> number."""


@dataclass(frozen=True)
class StepFact:
    """One step of the chain. `id` says what the step's output is (no path in it); `headline` its result in three words."""

    name: str
    id: str
    seconds: float = 0.0
    state: str = "done"
    config: Mapping[str, Any] = field(default_factory=dict)
    headline: str = ""
    about: str = ""


@dataclass(frozen=True)
class Balance:
    """Matches per query before and after balancing at `limit` per query (0: no limit)."""

    before: Sequence[int]
    after: Sequence[int]
    limit: int = 0


@dataclass(frozen=True)
class DatasetFacts:
    """The finished dataset. `sizes` counts pictures per class of original size, smallest first."""

    manifest_id: str
    rows: int
    bytes: int
    shards: int
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptSample:
    image: bytes
    caption: str


@dataclass(frozen=True)
class DroppedSample:
    """A pair that fell; `image` is None where it fell before it was a picture."""

    image: bytes | None
    caption: str
    url: str
    evidence: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything the report tells; parts that a recipe does not have stay empty and their sections are left out."""

    recipe: str
    run_id: str
    reproduce: str
    """The command that gives this run again."""
    created_from: Mapping[str, str] = field(default_factory=dict)
    """Name -> id of what the run was made from (web, dataset, checkpoint)."""
    steps: Sequence[StepFact] = ()
    lineage: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Step name -> names of the steps whose output it reads."""
    fates: Mapping[str, Mapping[str, Fate]] = field(default_factory=dict)
    """phase -> unit -> Fate, in the order of the chain."""
    planted: Counts = field(default_factory=dict)
    """Defects that the demo web holds on purpose."""
    planted_recovered: Mapping[str, int] = field(default_factory=dict)
    """Planted trouble that curation must get over: retried, redirected, cmyk, ..."""
    recovered: Mapping[str, int] = field(default_factory=dict)
    """How often it did."""
    balance: Balance | None = None
    dataset: DatasetFacts | None = None
    data_card: str = ""
    """Where the dataset's data card lies below the root."""
    kept: Sequence[KeptSample] = ()
    dropped: Mapping[str, Sequence[DroppedSample]] = field(default_factory=dict)
    """Drop reason -> some pairs that fell for it."""
    training: Sequence[Mapping[str, float]] = ()
    """Rows with step, loss, learning_rate, gradient_norm, samples_per_second and what the model's family measures."""
    while_training: Sequence[Mapping[str, float]] = ()
    """Rows with step and scores by name: snapshots that were evaluated while training went on."""
    evaluation: Report | None = None
    image_gflops: float | None = None
    """Of the evaluated model's forward pass per picture."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Versions, machine, commit."""
    peak_memory_bytes: int | None = None
    total_seconds: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A planted defect and its count; `phase` and `unit` are empty for trouble that was recovered from."""

    phase: str
    unit: str
    reason: str
    planted: int
    counted: int

    @property
    def equal(self) -> bool:
        return self.planted == self.counted


def compare(data: ReportData) -> list[Comparison]:
    """Each planted kind next to what was counted; a kind that nobody counted has 0."""
    rows = []
    for phase, units in data.planted.items():
        for unit, reasons in units.items():
            fate = data.fates.get(phase, {}).get(unit)
            for reason, number in reasons.items():
                rows.append(Comparison(phase, unit, reason, number, fate.reasons.get(reason, 0) if fate else 0))
    for phase, fates in data.fates.items() if data.planted else ():
        for unit, fate in fates.items():
            known = {"balanced_out", *data.planted.get(phase, {}).get(unit, {})}
            unplanted = {reason: number for reason, number in fate.reasons.items() if reason not in known}
            rows += [Comparison(phase, unit, reason, 0, number) for reason, number in unplanted.items()]
    for kind, number in data.planted_recovered.items():
        rows.append(Comparison("", "", kind, number, data.recovered.get(kind, 0)))
    return rows
