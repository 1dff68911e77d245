"""What the demo web's builder planted beside what curation counted: the proof that no row is lost or misnamed.

planted.json has phase -> unit -> drop reason -> number, and "recovered" -> kind -> number for trouble that costs no pair.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from orchestration.step import read_record
from pipeline import storage
from pipeline.datasets.shards import read_index
from pipeline.manifest import Manifest


def planted_for(path: str) -> dict[str, Any] | None:
    """What the demo web's builder planted in the web that the dataset at `path` comes from; None where that is not known.

    Found by lineage: the step's inputs, their inputs, and so on, among the steps beside it.
    """
    record = read_record(path)
    if record is None:
        return None
    root = path.rpartition("/")[0]
    folders = [storage.join(root, name) for name in storage.list_names(root)]
    beside = [step for step in map(read_record, folders) if step is not None]
    waiting = [record]
    seen: set[tuple[str, str]] = set()
    while waiting:
        inputs = set(waiting.pop().inputs.items()) - seen
        seen |= inputs
        made = [step for step in beside if (step.name, step.output_id) in inputs]
        for step in made:
            planted = storage.join(step.path, "planted.json")
            if storage.exists(planted):
                return dict(storage.read_json(planted))
        waiting += made
    return None


def recovered_of(path: str, manifest: Manifest, planted: Mapping[str, Any]) -> dict[str, int]:
    """Trouble that curation got over: told by the manifest's telemetry, else counted in the samples' `repairs`."""
    repairs: Counter[str] = Counter()
    wanted = planted.get("recovered", {})
    if set(wanted) - set(manifest.telemetry):
        for shard in manifest.shards:
            for row in read_index(path, shard, ["repairs"]).column("repairs").to_pylist():
                repairs.update(row or ())
    return {name: int(manifest.telemetry.get(name, repairs[name])) for name in wanted}


def comparisons(
    planted: Mapping[str, Any], counts: Mapping[str, Any], recovered: Mapping[str, int]
) -> Iterator[tuple[str, int, int]]:
    """(what, planted, counted) for everything that was planted."""
    for phase, units in planted.items():
        if phase == "recovered":
            yield from ((f"recovered {name}", number, recovered.get(name, 0)) for name, number in units.items())
            continue
        for unit, reasons in units.items():
            counted = counts.get(phase, {}).get(unit, {}).get("reasons", {})
            yield from ((f"{phase} {unit} {name}", number, counted.get(name, 0)) for name, number in reasons.items())
    for phase, units in counts.items():
        for unit, fate in units.items():
            # What fell for a reason that nobody planted is a difference too; the balance alone follows from a rule.
            known = {"balanced_out", *planted.get(phase, {}).get(unit, {})}
            yield from ((f"{phase} {unit} {name}", 0, n) for name, n in fate["reasons"].items() if name not in known)


def planted_equals_counted(planted: Mapping[str, Any], counts: Mapping[str, Any], recovered: Mapping[str, int]) -> bool:
    return all(wanted == counted for _, wanted, counted in comparisons(planted, counts, recovered))
