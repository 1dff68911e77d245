"""The index of evaluation pictures: every picture in its usual variants, as hashes, made once and kept by its step.

    index/data/...parquet     schema INDEX, a row per picture and variant, in files of about FILE_ROWS rows
    planted/data/...parquet   the same columns for changed copies of a drawn sample, by which thresholds are calibrated
    index/phase.json          fates: pictures read, pictures that fell (a broken file, a plain picture) with their reasons

About 250 bytes per row, 30 rows per picture: ImageNet's 50,000 validation pictures take 400 MB, one file of 60 MB of
which is in memory at a time.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.batch import DROPPED, count_reasons
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, File, Output, PhaseResult, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.execution.sandbox import SandboxDied, shared
from pipeline.overlap.changes import CHANGES, DECOY
from pipeline.overlap.embedded import COLUMN as EMBEDDING
from pipeline.overlap.embedded import Embedder
from pipeline.overlap.reference_picture import TARGET
from pipeline.overlap.reference_sets import ReferenceSet
from pipeline.pictures.descriptors import THUMBNAIL_BYTES
from pipeline.scoring.scorers import Scorer

INDEX = pa.schema(
    [
        ("task", pa.string()),
        ("index", pa.int64()),  # of the picture in its benchmark's list
        ("key", pa.string()),
        ("variant", pa.string()),  # in the planted table: the change
        ("phash", pa.uint64()),
        ("phash256", pa.binary(32)),
        ("thumbnail8", pa.binary(192)),
        (EMBEDDING, pa.list_(pa.float16())),  # of the forms that are embedded, where a scorer is given
    ]
)
ITEM_PICTURES = 128
FILE_ROWS = 250_000


@dataclass(frozen=True)
class Indexing:
    """What is made of each picture: its `variants`, and of about `calibration_pictures` per set planted copies; with a
    `scorer` the embeddings of the variants in `embedded` and of all planted copies."""

    variants: tuple[str, ...]
    calibration_pictures: int = 0
    seed: int = 0
    scorer: Scorer | None = None
    """Where thresholds are calibrated, each picture is embedded mirrored at the diagonal too, a decoy among the planted copies."""
    embedded: tuple[str, ...] = ()

    def identity(self) -> list[Any]:
        """The settings and content that an index depends on."""
        model = [self.scorer.identity, list(self.embedded)] if self.scorer else None
        return [list(self.variants), self.calibration_pictures, self.seed, model]


@dataclass(frozen=True)
class References:
    """A finished index: its files, and those of the planted copies. Loaded from the folder it was built in."""

    index: PhaseResult
    planted: PhaseResult

    @property
    def id(self) -> str:
        return storage.sha256(storage.canonical_json([self.index.id, self.planted.id]))

    @property
    def tasks(self) -> list[str]:
        return sorted(self.index.extra["pictures"])

    @staticmethod
    def load(folder: str) -> "References":
        planted = PhaseResult.load(storage.join(folder, "planted"))
        return References(PhaseResult.load(storage.join(folder, "index")), planted)


def build_index(
    sets: Sequence[ReferenceSet],
    indexing: Indexing,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> References:
    """Describe every picture of `sets`. Raises DataError for a set that has no usable picture."""
    items: list[WorkItem] = []
    for one in sets:
        for start in range(0, one.count, ITEM_PICTURES):
            part = (one, start, min(start + ITEM_PICTURES, one.count))
            identity = [one.identity, one.name, one.count, start, indexing.identity()]
            items.append(WorkItem(f"describe-{len(items):05d}", identity, part))
    parts = storage.join(folder, "described")
    work = functools.partial(_describe, indexing)
    if indexing.scorer:
        needs = indexing.scorer.resources
        executor = executor.with_resources(needs.cpus, needs.gpus, needs.memory_bytes)
    records = run_items(parts, work, items, executor, progress, "evaluation pictures")
    kept: dict[str, int] = {}
    for one in sets:
        mine = [record for record, item in zip(records, items, strict=True) if item.arguments[0] is one]
        fate = Fate.sum([record.fates["pictures"] for record in mine])
        if not fate.kept:
            raise DataError(
                f"{one.name}: none of its {fate.rows_in:,} pictures can be used {dict(fate.reasons)}; correct the path of"
                " this evaluation set or take it out"
            )
        kept[one.name] = fate.kept
    made = []
    for label, extra in (("index", {"pictures": kept}), ("planted", {})):
        batches = _batches(label, parts, [record.files[label] for record in records])
        merged = run_items(storage.join(folder, label), _merge, batches, executor, progress, "index")
        gathered = PhaseResult.of_records("references", storage.join(folder, label), merged, extra)
        made.append(replace(gathered, fates=PhaseResult.of_records("", "", records).fates))
    _save_dropped(parts, records, storage.join(folder, "dropped.parquet"))
    made[1].save()
    made[0].save()
    storage.remove_tree(parts)  # copies of what the merged files now hold
    return References(made[0], made[1])


def _describe(indexing: Indexing, part: tuple[ReferenceSet, int, int]) -> Output:
    one, start, stop = part
    rows: dict[str, list[dict[str, Any]]] = {"index": [], "planted": []}
    dropped: list[dict[str, Any]] = []
    embedder = Embedder(indexing.scorer)
    for picture in one.read(start, stop).to_pylist():
        seed = f"{indexing.seed}/{one.name}/{picture['index']}"
        changes = list(CHANGES) if _hash01(seed) * one.count < indexing.calibration_pictures else []
        if indexing.scorer and indexing.calibration_pictures:
            changes.append(DECOY)
        header: dict[str, Any] = {"variants": list(indexing.variants), "changes": changes, "seed": seed}
        header |= {"embedded": list(indexing.embedded), **embedder.header}
        try:
            facts, blobs = shared(TARGET).call(header, picture["image"])
        except SandboxDied as death:
            facts, blobs = {"reason": death.reason, "evidence": death.detail}, []
        if "reason" in facts:
            where = {"uid": f"{one.name}/{picture['index']}", "url": picture["key"]}
            dropped.append(where | {"reason": facts["reason"], "evidence": facts["evidence"]})
            continue
        told = {"task": one.name, "index": picture["index"], "key": picture["key"]}
        made = [told | facts for facts in _forms([*indexing.variants, *changes], facts["phash"], blobs)]
        index, planted = made[: len(indexing.variants)], made[len(indexing.variants) :]
        if indexing.scorer:
            by_name = {row["variant"]: row for row in index}
            embedder.add([*(by_name[name] for name in indexing.embedded), *planted], blobs[2])
        rows["index"] += index
        rows["planted"] += planted
    embedder.finish()
    tables = {label: _table(found) for label, found in rows.items()}
    tables["dropped"] = pa.Table.from_pylist(dropped, schema=DROPPED)
    reasons = count_reasons(tables["dropped"])
    return Output(tables, {"pictures": Fate(stop - start, stop - start - len(dropped), reasons)})


def _forms(names: Sequence[str], hashes: Sequence[str], blobs: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """What the sandbox said of each form."""
    for number, name in enumerate(names):
        yield {
            "variant": name,
            "phash": int(hashes[number], 16),
            "phash256": blobs[0][32 * number : 32 * number + 32],
            "thumbnail8": blobs[1][THUMBNAIL_BYTES * number : THUMBNAIL_BYTES * (number + 1)],
        }


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    plain = pa.schema([field for field in INDEX if field.name != EMBEDDING])
    vectors = pa.array([row.get(EMBEDDING) for row in rows], INDEX.field(EMBEDDING).type)
    return pa.Table.from_pylist(list(rows), schema=plain).append_column(INDEX.field(EMBEDDING), vectors)


def _hash01(words: str) -> float:
    """A number in [0, 1) that only the words decide."""
    return int(storage.sha256(words.encode())[:13], 16) / 16**13


def _batches(label: str, folder: str, files: Sequence[File]) -> list[WorkItem]:
    """Consecutive files, together of FILE_ROWS rows at most (or one file)."""
    groups: list[list[File]] = [[]]
    for file in files:
        if groups[-1] and sum(other.rows for other in groups[-1]) + file.rows > FILE_ROWS:
            groups.append([])
        groups[-1].append(file)
    return [
        WorkItem(
            f"{label}-{number:05d}",
            [file.sha256 for file in group],
            [storage.join(folder, file.path) for file in group],
        )
        for number, group in enumerate(groups)
    ]


def _merge(paths: list[str]) -> Output:
    rows = pa.concat_tables([INDEX.empty_table(), *(storage.read_table(path) for path in paths)])
    return Output({"kept": rows}, {"rows": Fate(rows.num_rows, rows.num_rows)})


def _save_dropped(folder: str, records: Sequence[Record], path: str) -> None:
    files = [record.files["dropped"] for record in records if "dropped" in record.files]
    parts = [storage.read_table(storage.join(folder, file.path)) for file in files]
    storage.write_table(path, pa.concat_tables([DROPPED.empty_table(), *parts]))
