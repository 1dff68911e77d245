"""Adopt: shards that others wrote (img2dataset, DataComp, webdataset's TarWriter) become a dataset with a Manifest.

The tars stay as they are. One item per tar reads its headers (pipeline/datasets/tar_members.py), groups members by WebDataset's
rule (the key is the path up to the first dot of its last part) and writes an index that says where each picture lies.
Texts come from `.txt`, else from the JSON; what the JSON says of url, uid, sizes and scores (pipeline/sources/told.py) is taken
over. A sample without a picture or a text is dropped and counted, and so is each member that is no plain file.
"""

import functools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline import storage
from pipeline.code_version import code_version
from pipeline.datasets.shard_form import HEAD, KNOWN, PLACE
from pipeline.datasets.tar_members import Member, readable_members, sample_of, tars_of
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.manifest import NAME, Manifest, Shard
from pipeline.sample import CARRIED, pair_uid
from pipeline.sources.table_form import SOURCE_UID
from pipeline.sources.told import captions_in, told_columns, told_names, told_of
from pipeline.web.body import file_text

PICTURES = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp"}
MAX_META_BYTES = 1 << 20
"""Longest text or JSON that is read."""

ADOPTED = pa.schema([*HEAD, *KNOWN, *PLACE])
SCORES = told_names()
_UID = re.compile(r"[0-9a-f]{32}")


def adopt(folder: str, executor: Executor, progress: Progress = silent) -> Manifest:
    """Write index/*.parquet and manifest.json beside the tars in `folder`. Raises DataError where there is no sample."""
    if storage.exists(storage.join(folder, NAME)):
        raise ConfigError(f"{folder}: has a {NAME} already, so it is a dataset; remove that file to adopt it anew")
    tars = tars_of(folder, storage.list_names(folder))
    if not tars:
        raise ConfigError(f"{folder}: holds no .tar; give a folder of WebDataset shards")
    items = []
    for tar in tars:
        digest = storage.sha256_file(storage.join(folder, tar))
        items.append(WorkItem(tar.removesuffix(".tar"), digest, (tar, digest)))
    work = storage.join(folder, "index")
    records = run_items(work, functools.partial(_index, folder), items, executor, progress, "tars")
    carried = sorted({name for record in records for name in record.telemetry})
    shards = []
    for item, record in zip(items, records, strict=True):
        tar, digest = item.arguments
        index = record.files[f"{item.name}.parquet"]
        digest_of_index = _widen(storage.join(work, index.path), [name.removeprefix(CARRIED) for name in carried])
        rows = record.fates["pairs"].kept
        size = storage.size(storage.join(folder, tar))
        shards.append(Shard(tar, f"index/{index.path}", rows, size, digest, digest_of_index))
    fates = {unit: asdict(Fate.sum([record.fates[unit] for record in records])) for unit in ("members", "pairs")}
    manifest = Manifest(tuple(shards), {"adopt": fates}, (), {"adopted": True}, code_version("pipeline.datasets.adopt"))
    if not manifest.rows:
        raise DataError(f"{folder}: no sample with a picture and a text in {len(tars)} tars: {fates}")
    storage.remove_tree(storage.join(work, "items"))
    manifest.save(folder)
    return manifest


def _index(folder: str, part: tuple[str, str]) -> Output:
    tar, _ = part
    problems: Counter[str] = Counter()
    filesystem, name = storage.filesystem_of(storage.join(folder, tar))
    rows: list[dict[str, Any]] = []
    told: list[Sequence[Any]] = []
    dropped: Counter[str] = Counter()
    with filesystem.open(name, "rb") as file:
        found = readable_members(file, problems)
        for key, group in groupby(found, key=lambda member: sample_of(member.name)[0]):
            parts: dict[str, Member] = {}
            for member in group:
                parts.setdefault(sample_of(member.name)[1], member)
            meta = _meta(file, parts.get("json"))
            row, reason = _sample(file, key, parts, meta)
            rows += [row] if row else []
            told += [told_of({name.lower(): value for name, value in meta.items()}, SCORES)] if row else []
            dropped.update([reason] if reason else [])
    more = told_columns(told, SCORES, [row["uid"] for row in rows])
    table = pa.Table.from_pylist(rows, schema=ADOPTED)
    for name, column in more.items():
        table = table.append_column(name, column)
    fates = {
        "members": Fate(len(found) + sum(problems.values()), len(found), dict(sorted(problems.items()))),
        "pairs": Fate(len(rows) + sum(dropped.values()), len(rows), dict(sorted(dropped.items()))),
    }
    index = f"{tar.removesuffix('.tar')}.parquet"
    counts = {f"{CARRIED}{name}": len(column) - column.null_count for name, column in more.items()}
    return Output({}, fates, final={index: storage.table_bytes(table)}, telemetry=counts)


def _widen(path: str, names: Sequence[str]) -> str:
    """Let the index at `path` have all these columns, as those of the other tars: null where its tar says nothing. Its SHA-256."""
    table = storage.read_table(path)
    if names:
        kinds = {name: pa.string() if name == SOURCE_UID else pa.float64() for name in names}
        there = set(table.column_names)
        columns = {n: table.column(n) if n in there else pa.nulls(table.num_rows, kind) for n, kind in kinds.items()}
        ends = [name for name, _ in PLACE]
        wide = {name: table.column(name) for name in ADOPTED.names if name not in ends} | columns
        storage.write_bytes(path, storage.table_bytes(pa.table(wide | {name: table.column(name) for name in ends})))
    return storage.sha256_file(path)


def _sample(
    file: BinaryIO, key: str, group: Mapping[str, Member], meta: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str | None]:
    """The index row of one sample, or why it has none."""
    found = next(((kind, group[name]) for name, kind in PICTURES.items() if name in group), None)
    if found is None:
        return None, "no_picture"
    kind, picture = found
    if picture.size >= 1 << 31:
        return None, "too_large"
    text = _read(file, group.get("txt"))
    caption = file_text(text or b"") or _word(meta, "caption") or next(iter(captions_in(meta)), "")
    if not caption:
        return None, "text_empty"
    url = _word(meta, "url") or f"file:{key}"
    uid = _word(meta, "uid") or ""
    row: dict[str, Any] = {name: _word(meta, name) for name in ("sha256", "page_url", "licence", "text_origin")}
    row |= {name: _size(meta, name) for name in ("width", "height", "original_width", "original_height")}
    row |= {
        "key": key,
        "url": url,
        "caption": caption,
        "status": "success",
        "uid": uid if _UID.fullmatch(uid) else pair_uid(url, caption),
        "format": kind,
        "image_offset": picture.offset,
        "image_bytes": picture.size,
    }
    return row, None


def _read(file: BinaryIO, member: Member | None) -> bytes | None:
    if member is None or member.size > MAX_META_BYTES:
        return None
    file.seek(member.offset)
    return file.read(member.size)


def _meta(file: BinaryIO, member: Member | None) -> Mapping[str, Any]:
    try:
        value = json.loads(_read(file, member) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _word(meta: Mapping[str, Any], name: str) -> str | None:
    """A string that Parquet takes: JSON may hold lone surrogates."""
    value = meta.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and value else None


def _size(meta: Mapping[str, Any], name: str) -> int | None:
    value = meta.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else None
