"""Subset files in DataComp's form: a sorted numpy array of 128-bit uids, 16 bytes per sample.

DataComp (arXiv:2304.14108, baselines/apply_filter.py) exchanges subsets as a structured array of dtype "u8,u8", the two
halves of the hex uid, sorted, saved as `.npy`; its resharder reads ours and ours reads its. A uid that stands there twice
is a sample that shall be seen twice.
"""

import io
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.datasets.expression import Condition
from pipeline.datasets.packing import uid_numbers
from pipeline.datasets.shards import read_index, read_schema
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import Manifest

UID = np.dtype("u8,u8")
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_TOP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):(0?\.\d+|1(?:\.0*)?)")


def as_uids(numbers: np.ndarray) -> np.ndarray:
    """A sorted array of dtype UID from (n, 2) uint64."""
    return np.sort(np.ascontiguousarray(numbers, np.uint64).view(UID).reshape(-1))


def save_uids(path: str, uids: np.ndarray) -> None:
    sink = io.BytesIO()
    np.save(sink, uids, allow_pickle=False)
    storage.write_bytes(path, sink.getvalue())


def load_uids(path: str) -> np.ndarray:
    """A subset file, sorted. Raises ConfigError where it is none; a pickle in it is never opened."""
    if not storage.exists(path):
        raise ConfigError(f"{path}: no such file; make one with openwit subset")
    try:
        uids = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise ConfigError(f"{path}: is no .npy file of uids; make one with openwit subset") from error
    if not isinstance(uids, np.ndarray) or uids.dtype != UID or uids.ndim != 1:
        kind = getattr(uids, "dtype", type(uids).__name__)
        raise ConfigError(f"{path}: holds {kind}, not 128-bit uids (dtype u8,u8); make one with openwit subset")
    return np.sort(uids)


def hex_of(uids: np.ndarray) -> list[str]:
    """The uids as 32 hex digits each."""
    return [f"{high:016x}{low:016x}" for high, low in uids.tolist()]


def select_uids(
    folder: str,
    manifest: Manifest,
    where: str | None = None,
    top: str | None = None,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """Uids of the samples that fulfil `where`, are in the `top` ("score:0.3": the best 30 % by that column) and `within` these.

    `within` names samples by their uid, or by the one that their source's table gave them: DataComp's own subset files apply.

    The fraction is one of all samples of the dataset, as DataComp counts it. Memory: one index, 16 bytes per sample found
    and 8 per sample for the threshold. Raises ConfigError for a condition or column that does not fit.
    """
    schema = _schema(folder, manifest)
    condition = Condition(where, schema) if where else None
    column, lowest = _threshold(folder, manifest, schema, top) if top else (None, 0.0)
    names = ("uid", *(("source_uid",) if within is not None and "source_uid" in schema.names else ()))
    wanted = dict.fromkeys([*names, *(condition.columns if condition else ()), *((column,) if column else ())])
    parts = [np.empty((0, 2), np.uint64)]
    for table in _tables(folder, manifest, list(wanted)):
        if condition:
            table = table.filter(condition.keeps(table))
        if column:
            table = table.filter(pa.array(_values(table, column) >= lowest))
        if within is not None:
            found = [_is_in(table.column(name).to_pylist(), within) for name in names]
            table = table.filter(pa.array(np.logical_or.reduce(found)))
        parts.append(uid_numbers(table.column("uid")))
    return as_uids(np.concatenate(parts))


def by_source_uid(folder: str, manifest: Manifest, uids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) UID, (N,) bool: the dataset's own uid of the first sample whose source_uid is each of the sorted `uids`, and whether
    there is one. Memory: one index, 17 bytes per uid."""
    own, known = np.zeros(len(uids), UID), np.zeros(len(uids), bool)
    for shard in manifest.shards:
        if "source_uid" not in read_schema(folder, shard).names:
            continue
        table = read_index(folder, shard, ["uid", "source_uid"])
        rows, places = _met(table.column("source_uid").to_pylist(), uids)
        places, first = np.unique(places, return_index=True)
        rows, places = rows[first][~known[places]], places[~known[places]]
        if len(rows):
            own[places] = _as_uids_unsorted(table.column("uid").take(pa.array(rows)))
            known[places] = True
    return own, known


def _is_in(words: list[str | None], uids: np.ndarray) -> np.ndarray:
    """Which words are 32 hex digits that the sorted `uids` hold."""
    found = np.zeros(len(words), bool)
    found[_met(words, uids)[0]] = True
    return found


def _met(words: list[str | None], uids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, places): which words are 32 hex digits that the sorted `uids` hold, and where there."""
    rows = np.array([row for row, word in enumerate(words) if word and _HEX.fullmatch(word)], np.int64)
    if not len(rows) or not len(uids):
        return rows[:0], rows[:0]
    here = _as_uids_unsorted([words[row] or "" for row in rows.tolist()])
    places = np.minimum(np.searchsorted(uids, here), len(uids) - 1)
    held = uids[places] == here
    return rows[held], places[held]


def _as_uids_unsorted(words: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
    return np.ascontiguousarray(uid_numbers(words)).view(UID).reshape(-1)


def _schema(folder: str, manifest: Manifest) -> pa.Schema:
    if not manifest.shards:
        raise DataError(f"{folder}: has no shard, so nothing to choose from")
    return pa.unify_schemas([read_schema(folder, shard) for shard in manifest.shards], promote_options="permissive")


def _tables(folder: str, manifest: Manifest, columns: list[str]) -> Iterator[pa.Table]:
    for shard in manifest.shards:
        yield read_index(folder, shard, columns)


def _threshold(folder: str, manifest: Manifest, schema: pa.Schema, top: str) -> tuple[str, float]:
    """DataComp's rule: the value at place int(n * fraction) of the scores in falling order."""
    found = _TOP.fullmatch(top.replace(" ", ""))
    if found is None or float(found[2]) == 0:
        raise ConfigError(f"--top {top!r}: is no column:fraction; write it like score_clip_similarity:0.3")
    column, fraction = found[1], float(found[2])
    if column not in schema.names:
        scores = [field.name for field in schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)]
        raise ConfigError(f"--top {top!r}: no column {column}; numbers are in {', '.join(scores)}")
    try:
        values = np.concatenate([_values(table, column) for table in _tables(folder, manifest, [column])])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"--top {top!r}: column {column} holds {schema.field(column).type}, not numbers") from None
    known = -np.sort(-values[~np.isnan(values)])
    if not len(known):
        raise ConfigError(f"--top {top!r}: column {column} is empty; score the dataset first")
    return column, float(known[min(int(len(values) * fraction), len(known) - 1)])


def _values(table: pa.Table, column: str) -> np.ndarray:
    return np.asarray(table.column(column).cast(pa.float64()).to_numpy(), np.float64)
