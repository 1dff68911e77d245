"""What of a source cannot be read: how many samples each damaged file loses, exact where that is written down, else estimated.

A shard that img2dataset wrote has its count beside it (00000_stats.json, 00000.parquet). Where nothing is beside a damaged
file, the largest of three is taken: what its unread bytes would hold at its own bytes per sample (at all files'
where it has too few to tell), what it lacks to the mean of the whole files, and 1.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from pipeline import storage

ENOUGH_TO_TELL = 10
"""Samples of a file that say how large its others are."""
_KEY = b"openwit.broken"


@dataclass(frozen=True)
class Lost:
    """Samples of one file. `listed` ones are still among the source's rows: the loader meets and replaces them.
    `guessed` ones are an estimate."""

    path: str
    samples: int
    reason: str
    listed: bool
    guessed: bool = False


@dataclass(frozen=True)
class Broken:
    """How far a file could be read. `told` is the number of samples that it should have, where that is written beside it."""

    reason: str
    read_bytes: int
    unread_bytes: int
    told: int | None


@dataclass(frozen=True)
class Looked:
    """A file that was looked through: samples found, and what kept it from being read to its end."""

    path: str
    found: int
    bytes: int
    broken: Broken | None


def estimated(files: Sequence[Looked]) -> tuple[Lost, ...]:
    """What the broken ones lose; none of it is among the rows."""
    whole = [file.found for file in files if file.broken is None and file.found]
    mean = sum(whole) / len(whole) if whole else 0.0
    found = sum(file.found for file in files)
    each = sum(file.broken.read_bytes if file.broken else file.bytes for file in files if file.found) / max(1, found)
    lost = []
    for file in files:
        if file.broken is None:
            continue
        broken = file.broken
        own = broken.read_bytes / file.found if file.found >= ENOUGH_TO_TELL else each
        guess = max(1, round(broken.unread_bytes / own) if own else 1, round(mean) - file.found)
        samples = guess if broken.told is None else max(0, broken.told - file.found)
        if samples:
            lost.append(Lost(file.path, samples, broken.reason, listed=False, guessed=broken.told is None))
    return tuple(lost)


def told_beside(path: str) -> int | None:
    """Samples that the data file at `path` was written with, by img2dataset's files beside it; None where they say nothing."""
    stem = path.rpartition(".")[0]
    try:
        if storage.exists(f"{stem}_stats.json"):
            return int(storage.read_json(f"{stem}_stats.json")["successes"])
        if not path.endswith(".parquet") and storage.exists(f"{stem}.parquet"):
            names = storage.read_schema(f"{stem}.parquet").names
            table = storage.read_table(f"{stem}.parquet", ["status"] if "status" in names else names[:1])
            values = table.column(0).to_pylist()
            return values.count("success") if "status" in names else len(values)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def marked(table: pa.Table, broken: Broken | None) -> pa.Table:
    """The index with a note of what could not be read; as it is where all could."""
    if broken is None:
        return table
    return table.replace_schema_metadata({_KEY: json.dumps(asdict(broken), sort_keys=True).encode()})


def mark_of(table: pa.Table) -> Broken | None:
    """The note that `marked` left."""
    said = (table.schema.metadata or {}).get(_KEY)
    return Broken(**json.loads(said)) if said else None
