"""Finished shards as a source: WebDataset tars (img2dataset's, DataComp's, openwit's own) and Parquet with pictures.

A tar is read once for its members' places, and each row says where its picture lies in it. What a sample's JSON or row says of its
uid and scores stays with it (told.py). Pictures that lie in Parquet
cells have no place of their own, so they are copied into one file per work item below the step's folder.
"""

import contextlib
import functools
import posixpath
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.datasets.tar_members import tars_of
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, PhaseResult, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.manifest import NAME as MANIFEST
from pipeline.manifest import Manifest
from pipeline.pictures.picture_config import FILE_ENDINGS
from pipeline.sample import candidates, pair_uid
from pipeline.sources.config import ShardsSource
from pipeline.sources.folder import below, sidecar_text
from pipeline.sources.inputs import Input, identified, open_blocks
from pipeline.sources.json_values import loaded
from pipeline.sources.pages import Dropped
from pipeline.sources.table_form import LICENCE_NAMES, PAGE_NAMES, URL_NAMES
from pipeline.sources.told import captions_in, told_names, told_of, with_told
from pipeline.web.urls import UnusableURLError, canonical

_IMAGE_NAMES = ("jpg", "jpeg", "png", "webp", "image", "image_bytes", "img", "bytes")
_MAX_TEXT = 1 << 20


def harvest_shards(
    name: str, config: ShardsSource, folder: str, executor: Executor, progress: Progress = silent
) -> PhaseResult:
    """Kept rows: sample.CANDIDATE with `location`. extra["root"]: "input" or "own", what locations are below of."""
    key = f"curate.sources.{name}.path"
    scores = told_names(config.score_columns, f"curate.sources.{name}")
    names = below(config.path, key)
    tars = tars_of(key, names)
    tables = [each for each in names if each.endswith(".parquet")]
    places = {storage.join(config.path, each): each for each in tars or tables}
    inputs = identified(sorted(places), executor, progress)
    if tars:
        _check_manifest(config.path, names, {places[each.path]: each for each in inputs})
        items = [
            WorkItem(f"tar-{number:06d}", [name, each.identity, places[each.path], scores], (each, places[each.path]))
            for number, each in enumerate(inputs)
        ]
        records: list[Record] = run_items(
            folder, functools.partial(_read_tar, name, scores), items, executor, progress, f"{name}: shards"
        )
    else:
        items = []
        for number, each in enumerate(inputs):
            groups, column = _parquet_shape(each.path)
            if column is None:
                continue
            items += [
                WorkItem(
                    f"parquet-{number:06d}-{group:05d}", [name, each.identity, group, scores], (each, group, column)
                )
                for group in range(groups)
            ]
        if not items:
            raise ConfigError(
                f"{key}: {config.path!r} holds neither .tar files nor Parquet with pictures; a table of URLs is kind: table"
            )
        records = run_items(
            folder, functools.partial(_read_group, name, scores), items, executor, progress, f"{name}: shards"
        )
    result = PhaseResult.of_records(name, folder, records, {"root": "input" if tars else "own"})
    result.save()
    return result


def _check_manifest(folder: str, names: list[str], tars: Mapping[str, Input]) -> None:
    """An openwit dataset is complete and unchanged, or it is not used."""
    if MANIFEST not in names:
        return
    for shard in Manifest.load(folder).shards:
        found = tars.get(shard.tar)
        changed = found is not None and storage.is_local(found.path) and found.identity != shard.tar_sha256
        if found is None or changed:
            path = storage.join(folder, shard.tar)
            raise DataError(f"{path}: missing or changed since the manifest was written; make the dataset again")


# --- tar ----------------------------------------------------------------------------------------------------------------


def _read_tar(source: str, scores: Sequence[str], part: tuple[Input, str]) -> Output:
    each, name = part
    pairs: list[Mapping[str, Any]] = []
    told: list[Sequence[Any]] = []
    fallen = Dropped()
    count = 0
    for key, members in _samples(each.path, fallen):
        count += 1
        facts = _facts(members)
        row = _tar_row(f"file:{source}/{name}/{key}", members, facts, each.bytes)
        if row is None:
            fallen.add(f"{source}/{name}/{key}", "", "no_picture", ", ".join(sorted(members))[:200])
            continue
        if not row["text"]:
            fallen.add(pair_uid(row["url"], ""), row["url"], "text_empty", None)
            continue
        pairs.append(row | {"location": f"{source}/{name}", "location_version": each.identity})
        told.append(told_of(facts, scores))
    reasons = fallen.counts()
    fate = Fate(count + reasons.get("damaged_file", 0), len(pairs), reasons)
    kept, carried = with_told(candidates(pairs), told, scores)
    return Output({"kept": kept, "dropped": fallen.table()}, {"pairs": fate}, telemetry=carried)


_Members = dict[str, tuple[int, int, bytes]]
"""extension -> (offset, bytes, content where it is text)"""


def _samples(path: str, fallen: Dropped) -> Iterator[tuple[str, _Members]]:
    """Neighbouring members with the same name up to the first dot (the WebDataset convention)."""
    key, members = None, _Members()
    with open_blocks(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    tar.members = []  # type: ignore[attr-defined]  # it would remember every one
                    if not member.isfile():
                        continue
                    folder, _, name = member.name.rpartition("/")
                    stem, _, extension = name.partition(".")
                    extension = extension.lower()
                    sample = posixpath.join(folder, stem)
                    if sample != key or extension in members:  # a key given twice is two samples
                        if key is not None:
                            yield key, members
                        key, members = sample, _Members()
                    text = b""
                    if extension in ("txt", "json", "cls") and member.size <= _MAX_TEXT:
                        file = tar.extractfile(member)
                        text = file.read() if file is not None else b""
                    members[extension] = (member.offset_data, member.size, text)
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            fallen.add(path.rsplit("/", 1)[-1], "", "damaged_file", type(error).__name__)
    if key is not None:
        yield key, members


def _facts(members: _Members) -> dict[str, Any]:
    """What a sample's JSON says, by names in lower case."""
    text, said = members["json"][2] if "json" in members else b"{}", None
    with contextlib.suppress(ValueError):
        said = loaded(text)
    return {str(name).lower(): value for name, value in said.items()} if isinstance(said, dict) else {}


def _tar_row(own_url: str, members: _Members, facts: Mapping[str, Any], tar_bytes: int) -> dict[str, Any] | None:
    picture = next((members[word[1:]] for word in FILE_ENDINGS if word[1:] in members), None)
    if picture is None or picture[0] + picture[1] > tar_bytes:
        return None
    text = sidecar_text("x.txt", members["txt"][2]) if "txt" in members else ""
    return _row(own_url, [text] if text else captions_in(facts), facts) | {
        "location_offset": picture[0],
        "location_bytes": picture[1],
    }


def _first(facts: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of these that is a text."""
    found = next((facts[name] for name in names if isinstance(facts.get(name), str) and facts[name].strip()), "")
    return " ".join(found.encode("utf-8", "replace").decode("utf-8").split())


def _row(own_url: str, texts: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    try:
        url = canonical(_first(facts, URL_NAMES))
    except UnusableURLError:
        url = own_url
    origin = _first(facts, ("text_origin",)) or "shard"
    return {
        "url": url,
        "text": texts[0] if texts else "",
        "text_origin": origin,
        "texts": tuple((text, origin) for text in texts),
        "page_url": _first(facts, PAGE_NAMES),
        "licence": _first(facts, LICENCE_NAMES) or None,
    }


# --- Parquet ------------------------------------------------------------------------------------------------------------


def _parquet_shape(path: str) -> tuple[int, str | None]:
    """Row groups, and the column of pictures (bytes, or Hugging Face's struct of bytes and path)."""
    try:
        with open_blocks(path) as stream:
            file = pq.ParquetFile(stream)
            for field in file.schema_arrow:
                if field.name.lower() in _IMAGE_NAMES and _is_picture(field.type):
                    return file.num_row_groups, field.name
            return file.num_row_groups, None
    except (pa.ArrowException, OSError):
        return 1, ""  # read as one damaged file, so that it is counted


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_picture(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _read_group(source: str, scores: Sequence[str], part: tuple[Input, int, str]) -> Output:
    each, group, column = part
    fallen = Dropped()
    try:
        with open_blocks(each.path) as stream:
            rows = pq.ParquetFile(stream).read_row_group(group).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        fallen.add(f"{each.name}:{group}", "", "damaged_file", type(error).__name__)
        fate = Fate(1, 0, fallen.counts())
        return Output({"kept": candidates([]), "dropped": fallen.table()}, {"pairs": fate})
    pairs: list[dict[str, Any]] = []
    told: list[Sequence[Any]] = []
    blobs: list[bytes] = []
    place = 0
    for number, row in enumerate(rows):
        picture = row[column]["bytes"] if isinstance(row[column], dict) else row[column]
        facts = {str(name).lower(): value for name, value in row.items() if name != column}
        found = _row(f"file:{source}/{each.name}/{group}-{number}", captions_in(facts), facts)
        if not picture or not found["text"]:
            reason = "text_empty" if picture else "no_picture"
            fallen.add(pair_uid(found["url"], found["text"]), found["url"], reason, None, found["text"])
            continue
        pairs.append(found | {"location_offset": place, "location_bytes": len(picture)})
        told.append(told_of(facts, scores))
        blobs.append(picture)
        place += len(picture)
    data = b"".join(blobs)
    digest = storage.sha256(data)
    for pair in pairs:
        pair |= {"location": f"{source}/pictures/{digest[:32]}.bin", "location_version": digest}
    fate = Fate(len(rows), len(pairs), fallen.counts())
    final = {f"pictures/{digest[:32]}.bin": data} if pairs else {}
    kept, carried = with_told(candidates(pairs), told, scores)
    return Output({"kept": kept, "dropped": fallen.table()}, {"pairs": fate}, final=final, telemetry=carried)
