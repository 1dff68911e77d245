"""The ledger: which work items are finished, what each wrote, and what became of every row it was given.

A phase cuts its input into items, hands them to `run_items`, and gets one Record per item. An item's outputs are written
first, under names that carry their checksum; its record is written last and atomically. So a record that exists tells of
work that is complete, whatever was killed and whenever, and a rerun does only the items that have none.
"""

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.batch import DROPPED, Batch, add_counts
from pipeline.execution.executor import Executor
from pipeline.execution.progress import Progress, silent, tell


@dataclass(frozen=True)
class Fate:
    """What became of the rows of one kind: rows_in = kept + sum(reasons)."""

    rows_in: int
    kept: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rows_in != self.kept + sum(self.reasons.values()):
            raise AssertionError(f"rows lost: in {self.rows_in}, kept {self.kept}, dropped {dict(self.reasons)}")

    @staticmethod
    def of(rows_in: int, batch: Batch) -> "Fate":
        return Fate(rows_in, batch.rows.num_rows, batch.reasons())

    @staticmethod
    def sum(fates: Sequence["Fate"]) -> "Fate":
        return Fate(sum(f.rows_in for f in fates), sum(f.kept for f in fates), add_counts([f.reasons for f in fates]))


@dataclass(frozen=True)
class File:
    """One output: its path below the phase's folder, and what it must contain."""

    path: str
    rows: int
    bytes: int
    sha256: str

    def below(self, folder: str) -> "File":
        """The same file as seen from the parent of `folder`."""
        return replace(self, path=f"{folder}/{self.path}")


@dataclass(frozen=True)
class Output:
    """What an item's function returns; nothing of it is on storage yet.

    `tables` are written as Parquet, `files` as they are. `fates` counts rows by unit ("pages", "pairs").
    `telemetry` holds what may differ from run to run (retries, milliseconds): it is kept, and part of no id.
    """

    tables: Mapping[str, pa.Table]
    fates: Mapping[str, Fate]
    files: Mapping[str, bytes] = field(default_factory=dict)
    telemetry: Mapping[str, int] = field(default_factory=dict)
    final: Mapping[str, bytes | storage.Written] = field(default_factory=dict)
    """Files under exactly these names in the phase's folder, because others will look for them there: to be written, or
    written already (storage.stream) where one is too large for memory."""

    @staticmethod
    def of_batch(
        rows_in: int, batch: Batch, unit: str = "pairs", telemetry: Mapping[str, int] | None = None
    ) -> "Output":
        return Output(
            {"kept": batch.rows, "dropped": batch.dropped}, {unit: Fate.of(rows_in, batch)}, telemetry=telemetry or {}
        )


@dataclass(frozen=True)
class WorkItem:
    """`identity` says what the item is made from (checksums, never paths); `arguments` is what the function receives."""

    name: str
    identity: Any
    arguments: Any


@dataclass(frozen=True)
class Record:
    """The finished item as the ledger remembers it."""

    name: str
    identity: Any
    files: Mapping[str, File]
    fates: Mapping[str, Fate]
    telemetry: Mapping[str, int]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """What `load` reads. (asdict would copy the identity too, value by value: as long as a small item takes.)"""
        value = dict(vars(self))
        value["files"] = {label: vars(file) for label, file in self.files.items()}
        value["fates"] = {unit: asdict(fate) for unit, fate in self.fates.items()}
        return value

    @staticmethod
    def load(path: str) -> "Record":
        value = storage.read_json(path)
        return Record(
            value["name"],
            value["identity"],
            {label: File(**file) for label, file in value["files"].items()},
            {unit: Fate(**fate) for unit, fate in value["fates"].items()},
            value["telemetry"],
            value["seconds"],
        )


def run_items(
    folder: str,
    function: Callable[[Any], Output],
    items: Sequence[WorkItem],
    executor: Executor,
    progress: Progress = silent,
    what: str = "",
) -> list[Record]:
    """Finish every item and return their records in the items' order; items with a valid record are not run again.

    `function` must be picklable (a module's function or a functools.partial of one). Raises what `function` raises.
    """
    records: dict[int, Record] = {}
    for position, item in enumerate(items):
        record = _finished(folder, item)
        if record is not None:
            records[position] = record
    missing = [position for position in range(len(items)) if position not in records]
    progress(len(records), len(items), what)
    for record in records.values():
        tell(progress, what, record.fates, record.telemetry)
    work = functools.partial(_run_one, folder, function)
    for place, record in executor.map(work, [items[position] for position in missing]):
        records[missing[place]] = record
        tell(progress, what, record.fates, record.telemetry)
        progress(len(records), len(items), what)
    return [records[position] for position in range(len(items))]


def _record_path(folder: str, name: str) -> str:
    return storage.join(folder, "items", f"{name}.json")


def _finished(folder: str, item: WorkItem) -> Record | None:
    path = _record_path(folder, item.name)
    if not storage.exists(path):
        return None
    try:
        record = Record.load(path)
    except (ValueError, KeyError, TypeError):  # damaged from outside; what it stood for is done again
        return None
    same = storage.canonical_json(record.identity) == storage.canonical_json(item.identity)
    whole = all(
        storage.exists(name) and storage.size(name) == file.bytes and storage.sha256_file(name) == file.sha256
        for file in record.files.values()
        for name in [storage.join(folder, file.path)]
    )
    return record if same and whole else None


def _run_one(folder: str, function: Callable[[Any], Output], item: WorkItem) -> Record:
    started = time.monotonic()
    output = function(item.arguments)
    files: dict[str, File] = {}
    for label, table in output.tables.items():
        files[label] = _write(folder, item.name, f"{label}.parquet", storage.table_bytes(table), table.num_rows)
    for label, data in output.files.items():
        files[label] = _write(folder, item.name, label, data, 0)
    for name, made in output.final.items():
        written = storage.settled(storage.join(folder, name), made)
        files[name] = File(name, 0, written.bytes, written.sha256)
    record = Record(
        item.name,
        item.identity,
        files,
        dict(output.fates),
        dict(output.telemetry),
        round(time.monotonic() - started, 3),
    )
    storage.write_json(_record_path(folder, item.name), record.as_json())
    return record


def _write(folder: str, item: str, label: str, data: bytes, rows: int) -> File:
    digest = storage.sha256(data)
    # The checksum in the name: two attempts at one item can never overwrite each other's half-trusted output.
    path = f"data/{item}/{digest[:12]}-{label}"
    storage.write_bytes(storage.join(folder, path), data)
    return File(path, rows, len(data), digest)


@dataclass(frozen=True)
class PhaseResult:
    """A finished phase of curation: its kept and dropped rows as Parquet files, and the fate of every row.

    Saved as `phase.json`, last. `folder` and `telemetry` are no part of `id`.
    """

    name: str
    folder: str
    kept: tuple[File, ...]
    dropped: tuple[File, ...]
    fates: Mapping[str, Fate]
    extra: Mapping[str, Any] = field(default_factory=dict)
    telemetry: Mapping[str, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """SHA-256 over what the phase kept, and how many rows it dropped for which reason.

        Not over the dropped rows' files: a phase may judge rows before they are brought into an order of their own, and then
        those files know how its input was cut.
        """
        return storage.sha256(
            storage.canonical_json(
                {
                    "name": self.name,
                    "kept": [file.sha256 for file in self.kept],
                    "fates": {unit: asdict(fate) for unit, fate in self.fates.items()},
                    "extra": dict(self.extra),
                }
            )
        )

    def save(self) -> None:
        value = asdict(self) | {"id": self.id}
        del value["folder"]
        storage.write_json(storage.join(self.folder, "phase.json"), value)

    @staticmethod
    def load(folder: str) -> "PhaseResult":
        path = storage.join(folder, "phase.json")
        if not storage.exists(path):
            raise DataError(f"{folder}: no phase.json, so this phase is not finished; run the recipe again")
        try:
            value = storage.read_json(path)
        except ValueError:
            raise DataError(f"{path}: damaged; remove the folder {folder} and run again") from None
        return PhaseResult(
            value["name"],
            folder,
            tuple(File(**file) for file in value["kept"]),
            tuple(File(**file) for file in value["dropped"]),
            {unit: Fate(**fate) for unit, fate in value["fates"].items()},
            value["extra"],
            value["telemetry"],
        )

    @staticmethod
    def of_records(
        name: str, folder: str, records: Sequence[Record], extra: Mapping[str, Any] | None = None
    ) -> "PhaseResult":
        """Gather the items' "kept" and "dropped" tables and add up their fates."""
        units = sorted({unit for record in records for unit in record.fates}) or ["pairs"]
        return PhaseResult(
            name,
            folder,
            tuple(record.files["kept"] for record in records if "kept" in record.files),
            tuple(record.files["dropped"] for record in records if "dropped" in record.files),
            {unit: Fate.sum([r.fates[unit] for r in records if unit in r.fates]) for unit in units},
            json.loads(storage.canonical_json(dict(extra or {}))),
            add_counts([record.telemetry for record in records]),
        )

    def read_kept(self, columns: list[str] | None = None) -> pa.Table:
        """All kept rows in one table: for small results and tests; phases read file by file."""
        tables = [storage.read_table(storage.join(self.folder, f.path), columns) for f in self.kept]
        return pa.concat_tables(tables, promote_options="default")

    def read_dropped(self) -> pa.Table:
        tables = [storage.read_table(storage.join(self.folder, f.path)) for f in self.dropped]
        return pa.concat_tables(tables) if tables else DROPPED.empty_table()
