"""Step: a name, a config and inputs, and the folder that follows from them. A finished step is never run twice.

    <root>/<name>-<key>/          key = hash of name, config, code version and the ids of the inputs' outputs
    <root>/<name>-<key>/step.json the record, written last: if it exists, the step is finished

Inputs count by the id of their content, so a step that is run again and gives the same output stops the change there
(Marin's executor hashes the recipe instead; Dagster needs a version bumped by hand).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pipeline import storage
from pipeline.code_version import code_version
from pipeline.datasets.shards import require_indexes
from pipeline.errors import DataError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import PhaseResult
from pipeline.execution.progress import Progress
from pipeline.manifest import NAME as MANIFEST
from pipeline.manifest import Manifest

NAME = "step.json"
FAILED = "failed"
"""Fact of a record: how many parts of the step's work ended in an error that is not the data's; 0 or none of them is done."""


@dataclass(frozen=True)
class Made:
    """What a step's work returns: the id of its output (from content only) and facts for people."""

    id: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepRecord:
    """A finished step as step.json tells it."""

    name: str
    path: str
    config: Mapping[str, Any]
    code: str
    inputs: Mapping[str, str]
    output_id: str
    seconds: float
    facts: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """Where the output lies: the step's own folder, or the one outside that it stands for."""
        return str(self.facts.get("folder", self.path))


class Context(Protocol):
    """What a step's work may use."""

    @property
    def progress(self) -> Progress: ...
    @property
    def run_id(self) -> str: ...
    @property
    def peak_memory_bytes(self) -> int: ...
    @property
    def records(self) -> Mapping[str, StepRecord]: ...
    def executor(self) -> Executor: ...
    def hosts(self) -> Mapping[str, str]: ...
    def connect(self) -> None: ...
    def on_train_step(self, row: Mapping[str, Any]) -> None: ...
    def on_evaluation(self, row: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Step:
    """`module` is where its code begins; `work(context, folder)` makes the output in `folder`, which it may resume."""

    name: str
    config: Mapping[str, Any]
    module: str
    inputs: tuple[str, ...]
    work: Callable[[Context, str], Made]
    about: str

    def identity(self, records: Mapping[str, StepRecord]) -> dict[str, Any]:
        return {
            "name": self.name,
            "config": dict(self.config),
            "code": code_version(self.module),
            "inputs": {name: records[name].output_id for name in self.inputs},
        }

    def path(self, root: str, records: Mapping[str, StepRecord]) -> str:
        key = storage.sha256(storage.canonical_json(self.identity(records)))[:12]
        return storage.join(root, f"{self.name}-{key}")

    def finished(self, root: str, records: Mapping[str, StepRecord]) -> StepRecord | None:
        """The record, or None while the step has work to do, also because files of its output are gone or cut short, or because
        parts of its work failed for a reason that may have passed."""
        record = read_record(self.path(root, records))
        whole = record is not None and missing_file(record) is None and not record.facts.get(FAILED)
        return record if whole else None

    def run(self, context: Context, root: str) -> StepRecord:
        """Do the work and write the record."""
        path = self.path(root, context.records)
        identity = self.identity(context.records)
        started = time.monotonic()
        made = self.work(context, path)
        record = StepRecord(
            self.name,
            path,
            identity["config"],
            identity["code"],
            identity["inputs"],
            made.id,
            round(time.monotonic() - started, 2),
            dict(made.facts),
        )
        value = asdict(record)
        del value["path"]
        storage.write_json(storage.join(path, NAME), value)
        return record


def read_record(path: str) -> StepRecord | None:
    file = storage.join(path, NAME)
    if not storage.exists(file):
        return None
    try:
        return StepRecord(path=path, **storage.read_json(file))
    except (ValueError, TypeError):  # damaged from outside: the step counts as not finished
        return None


def missing_file(record: StepRecord) -> str | None:
    """The first file of a finished step's output that is not there or has another size; contents are not read."""
    folder = record.folder
    try:
        if storage.exists(storage.join(folder, "phase.json")):
            phase = PhaseResult.load(folder)
            for file in (*phase.kept, *phase.dropped):
                path = storage.join(folder, file.path)
                if not storage.exists(path) or storage.size(path) != file.bytes:
                    return path
        if storage.exists(storage.join(folder, MANIFEST)):
            manifest = Manifest.load(folder)
            manifest.require_files(folder)
            require_indexes(folder, manifest)
    except (DataError, ValueError, KeyError, TypeError) as error:
        return str(error).split(": ", 1)[0]
    return None


def why(step: Step, root: str, records: Mapping[str, StepRecord]) -> str:
    """Why an unfinished step has to run: what differs from the finished step of that name most like it."""
    done = read_record(step.path(root, records))
    if done is not None and (gone := missing_file(done)) is not None:
        return f"{gone.rpartition('/')[2]} is missing or damaged"
    if done is not None and done.facts.get(FAILED):
        return f"{done.facts[FAILED]} of its parts failed; they are tried again"
    now = step.identity(records)
    fewest: list[str] | None = None
    for name in storage.list_names(root):
        record = read_record(storage.join(root, name)) if name.startswith(f"{step.name}-") else None
        if record is None or record.name != step.name:
            continue
        found = differences(step.name, dict(record.config), now["config"])
        found += ["code changed"] if record.code != now["code"] else []
        found += [f"{name} changed" for name, id in now["inputs"].items() if record.inputs.get(name) != id]
        if fewest is None or len(found) < len(fewest):
            fewest = found
    if fewest is not None:
        shown = [
            each for at, each in enumerate(fewest[:3]) if len("; ".join(fewest[: at + 1])) <= 2 * LONGEST
        ] or fewest[:1]
        return "; ".join(shown) + (f"; and {len(fewest) - len(shown)} more" if len(fewest) > len(shown) else "")
    return "begun, not finished" if storage.exists(step.path(root, records)) else "never run"


LONGEST = 60
"""Characters of both values of a difference that are shown; of longer ones it is said that they changed."""


def differences(prefix: str, before: Any, after: Any) -> list[str]:
    """`train.learning_rate: 0.0005 -> 0.001`, one per changed value; of long lists what came and what went: `evaluate.tasks:
    +digits -mnist`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted({*before, *after}, key=str)
        return [line for key in keys for line in differences(f"{prefix}.{key}", before.get(key), after.get(key))]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and list(before) == list(after):
        return []
    if before == after:
        return []
    shown = f"{before} -> {after}"
    if len(shown) <= LONGEST:
        return [f"{prefix}: {shown}"]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        return [f"{prefix}{_came_and_went(_named(before), _named(after))}"]
    return [f"{prefix} changed"]


def _named(values: Sequence[Any]) -> dict[str, Any]:
    """Each by its name: a benchmark by that of its task, what is no mapping by itself."""
    return {str(value.get("task", value) if isinstance(value, Mapping) else value): value for value in values}


def _came_and_went(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """`: +digits -mnist, cifar10 changed`, three names at most; ` changed` where that says nothing or too much."""
    told = [f"+{name}" for name in after if name not in before] + [f"-{name}" for name in before if name not in after]
    other = [name for name in after if name in before and after[name] != before[name]]
    shown = [" ".join(told[:3])] * bool(told) + [f"{' '.join(other[:3])} changed"] * bool(other)
    more = len(told[3:]) + len(other[3:])
    text = ", ".join(shown) + (f", {more} more" if more else "")
    return f": {text}" if shown and len(text) <= 2 * LONGEST else " changed"
