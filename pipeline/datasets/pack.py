"""Pack: the pairs that stayed become shards, sorted by uid (a hash, so sorted is shuffled), and the Manifest is written last.

Late phases need not carry the pictures along: they are taken from the last phase whose kept rows have them.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.datasets.folded import write_folded
from pipeline.datasets.packing import Form, grouped, uid_numbers, write_shards
from pipeline.datasets.picture_places import locate
from pipeline.datasets.shard_form import PACKED, carried
from pipeline.errors import DataError
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.manifest import Manifest
from pipeline.settings import Settings

__all__ = ["PackConfig", "pack"]


class PackConfig(Settings):
    """The form of the finished dataset."""

    samples_per_shard: int = Field(10_000, ge=1)
    """Samples in one shard (img2dataset: 10,000)."""
    output: Literal["webdataset", "parquet"] = "webdataset"
    """`webdataset`: a tar and a Parquet index per shard; `parquet`: Parquet with the pictures' bytes in it."""
    image_column: str = Field("", pattern=r"^[a-z0-9_]*$")
    """Name of the pictures' column in Parquet; "" for the format most of them have (img2dataset: its encode format)."""


def pack(
    config: PackConfig,
    phases: Sequence[PhaseResult],
    manifest_config: Mapping[str, Any],
    code_version: str,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
    sources: Sequence[PhaseResult] = (),
) -> Manifest:
    """Write the kept rows of the last of `phases` as shards; the manifest carries the counts of all of them.

    Of `sources`, which came before, it has the counts and no ids: those know how the input was cut into files, which the
    pairs that were chosen from it do not. Raises DataError when there is no row to write, and when the shards hold fewer
    rows than were kept.
    """
    last = phases[-1]
    rows = _filled(last)
    places, formats = _places(rows)
    if not len(places):
        dropped = {
            reason: count for phase in phases for f in phase.fates.values() for reason, count in f.reasons.items()
        }
        raise DataError(
            f"the dataset is empty after filtering: {dropped}; widen the rules in curate, or crawl more pages"
        )
    firsts = places[:: config.samples_per_shard]
    schema = _schema(rows)
    meta = _pass("meta", _meta, rows, (firsts, schema), [firsts, schema], folder, executor, progress)
    pictures = _filled(_with_pictures(phases))
    where = _pass("places", _where, pictures, (firsts,), [firsts], folder, executor, progress)
    form = Form(config.samples_per_shard, config.output, config.image_column or commonest(formats))
    files = [pictures.path(part) for part in pictures.parts]
    failed = _failed(phases, firsts)
    shards = write_shards(meta, where, files, len(firsts), form, folder, executor, progress, failed)
    manifest = Manifest(
        shards,
        {phase.name: {unit: asdict(fate) for unit, fate in phase.fates.items()} for phase in (*sources, *phases)},
        tuple(phase.id for phase in phases),
        manifest_config,
        code_version,
        {
            name if phase.name == "fetch" else f"{phase.name}_{name}": count
            for phase in (*sources, *phases)
            for name, count in phase.telemetry.items()
        },
    )
    if manifest.rows != len(places):
        raise DataError(f"{folder}: {manifest.rows:,} rows in shards, {len(places):,} were kept; run the recipe again")
    storage.remove_tree(storage.join(folder, "rows"))  # what the shards now hold
    write_folded(phases, manifest_config, folder)
    manifest.save(folder)
    return manifest


def _filled(phase: PhaseResult) -> Files:
    return Files(phase.folder, tuple(part for part in phase.kept if part.rows))


def _with_pictures(phases: Sequence[PhaseResult]) -> PhaseResult:
    """The last phase whose kept rows have pictures."""
    for phase in reversed(phases):
        rows = _filled(phase)
        if rows.parts and "image" in storage.read_schema(rows.path(rows.parts[0])).names:
            return phase
    raise DataError(f"no phase of {[phase.name for phase in phases]} kept pictures; add fetch to the recipe")


def _places(rows: Files) -> tuple[np.ndarray, Counter[str]]:
    """The first 64 bits of every uid, sorted: 8 bytes per row is all that is held of the whole dataset. And formats."""
    parts = [np.empty(0, np.uint64)]
    formats: Counter[str] = Counter()
    for part in rows.parts:
        table = storage.read_table(rows.path(part), ["uid", "format"])
        parts.append(uid_numbers(table.column("uid"))[:, 0])
        formats.update(table.column("format").to_pylist())
    return np.sort(np.concatenate(parts)), formats


def _failed(phases: Sequence[PhaseResult], firsts: np.ndarray) -> list[Counter[str]]:
    """By shard and reason: pairs that fetch dropped, where their uid would have put them."""
    found: list[Counter[str]] = [Counter() for _ in firsts]
    for phase in phases:
        for file in phase.dropped if phase.name == "fetch" else ():
            if file.rows:
                fallen = storage.read_table(storage.join(phase.folder, file.path), ["uid", "reason"])
                shards = _shard_of(firsts, fallen.column("uid")).to_pylist()
                for shard, reason in zip(shards, fallen.column("reason").to_pylist(), strict=True):
                    found[shard][reason] += 1
    return found


def commonest(formats: Counter[str]) -> str:
    return min(formats, key=lambda name: (-formats[name], name))


def _schema(rows: Files) -> pa.Schema:
    """The columns of all files together: one without a score, say, gets nulls. Raises DataError where one is missing."""
    schemas = [storage.read_schema(rows.path(part)) for part in rows.parts]
    whole = pa.unify_schemas(schemas, promote_options="permissive")
    missing = [name for name in PACKED.names if name not in whole.names and name != "image"]
    if missing:
        raise DataError(f"{rows.folder}: kept rows lack {', '.join(missing)}; pack needs all of {PACKED.names}")
    return pa.schema([field.remove_metadata() for field in whole if carried(field.name) or field.name == "text"])


def _pass(
    name: str,
    function: Any,
    files: Files,
    bound: tuple[Any, ...],
    identity: list[Any],
    folder: str,
    executor: Executor,
    progress: Progress,
) -> Files:
    """Run `function(*bound, [(number, path), ...])` over runs of files; its tables, as files."""
    below = storage.join(folder, "rows", name)
    known = [each.tobytes() if isinstance(each, np.ndarray) else str(each).encode() for each in identity]
    digest = storage.sha256(b"\0".join(known))
    items = [
        WorkItem(
            f"{name}-{at:05d}",
            [[files.parts[number].sha256 for number in group], group[0], digest],
            [(number, files.path(files.parts[number])) for number in group],
        )
        for at, group in enumerate(grouped(files))
    ]
    records = run_items(below, functools.partial(function, *bound), items, executor, progress, name)
    return Files(below, tuple(record.files["kept"] for record in records))


def _shard_of(firsts: np.ndarray, uids: pa.ChunkedArray) -> pa.Array:
    # Where an earlier phase gives the pictures, one that fell since may come before the first that stayed.
    shard = np.searchsorted(firsts, uid_numbers(uids)[:, 0], side="right") - 1
    return pa.array(np.maximum(shard, 0), pa.int64())


def _meta(firsts: np.ndarray, schema: pa.Schema, parts: Sequence[tuple[int, str]]) -> Output:
    rows = pa.concat_tables([_with_schema(schema, path) for _, path in parts])
    rows = rows.append_column("shard", _shard_of(firsts, rows.column("uid")))
    return _kept(rows)


def _with_schema(schema: pa.Schema, path: str) -> pa.Table:
    here = storage.read_schema(path).names
    table = storage.read_table(path, [name for name in schema.names if name in here])
    columns = [
        table.column(field.name).cast(field.type) if field.name in here else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _where(firsts: np.ndarray, parts: Sequence[tuple[int, str]]) -> Output:
    rows = pa.concat_tables([locate(path, number) for number, path in parts])
    return _kept(rows.append_column("shard", _shard_of(firsts, rows.column("uid"))))


def _kept(rows: pa.Table) -> Output:
    return Output({"kept": rows}, {"pairs": Fate(rows.num_rows, rows.num_rows)})
