"""Decontaminate: find training pictures that are (nearly) evaluation pictures, and remove or mark them.

CLIP (arXiv:2103.00020, section 5) measures the overlap, DataComp (arXiv:2304.14108, section 3.1) removes it; both need the
same list. The evaluation pictures come in as a table (task, index, image), described the same way as ours; a picture is
near one when its pHash is within `radius` bits and its colour thumbnail within `thumbnail_distance`.
"""

import functools
import io

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from pipeline import storage
from pipeline.batch import Batch
from pipeline.descriptors import hamming, perceptual_hash, thumbnail8, thumbnail_distance, thumbnails
from pipeline.exchange import Files
from pipeline.executor import Executor
from pipeline.ledger import Output, PhaseResult, Progress, run_items, silent
from pipeline.settings import Settings


class DecontaminateConfig(Settings):
    """When a training picture counts as an evaluation picture, and what happens to it."""

    mode: str = Field("remove", pattern="^(remove|mark)$")
    """`remove` drops the pair; `mark` keeps it with the tasks' names in column near_evaluation."""
    radius: int = Field(7, ge=0, le=32)
    """Largest Hamming distance of the two 64-bit pHashes."""
    thumbnail_distance: float = Field(10.0, gt=0)
    """Largest root mean square difference (0..255) of their 8 x 8 colour thumbnails."""


def describe(references: pa.Table) -> pa.Table:
    """(task, index, phash, thumbnail8) of evaluation pictures given as (task, index, image)."""
    hashes, looks = [], []
    for image in references.column("image").to_pylist():
        with Image.open(io.BytesIO(image)) as picture:
            hashes.append(perceptual_hash(picture.convert("RGB")))
            looks.append(thumbnail8(picture))
    described = references.select(["task", "index"])
    described = described.append_column("phash", pa.array(hashes, pa.uint64()))
    return described.append_column("thumbnail8", pa.array(looks, pa.binary()))


def decontaminate(
    config: DecontaminateConfig,
    deduplicated: PhaseResult,
    references: str | None,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Compare every picture with the described evaluation pictures in the Parquet file `references` (none: no work)."""
    identity = [config.model_dump(), storage.sha256_file(references) if references else None]
    records = run_items(
        folder,
        functools.partial(_compare, config, references),
        Files(deduplicated.folder, deduplicated.kept).items("compare", identity),
        executor,
        progress,
        "evaluation pictures",
    )
    result = PhaseResult.of_records("decontaminate", folder, records)
    result.save()
    return result


def _compare(config: DecontaminateConfig, references: str | None, path: str) -> Output:
    rows = storage.read_table(path)
    found = _nearest(config, rows, storage.read_table(references)) if references else [None] * rows.num_rows
    batch = Batch.of(rows)
    if config.mode == "mark":
        return Output.of_batch(rows.num_rows, batch.with_column("near_evaluation", found, pa.string()))
    return Output.of_batch(rows.num_rows, batch.drop(["near_evaluation" if name else None for name in found], found))


def _nearest(config: DecontaminateConfig, rows: pa.Table, references: pa.Table) -> list[str | None]:
    """For each row the evaluation picture it is near to, as words, or None. R references are compared at once."""
    if not references.num_rows:
        return [None] * rows.num_rows
    hashes_R = references.column("phash").to_numpy().astype(np.uint64)
    looks_R = thumbnails(references.column("thumbnail8").to_pylist())
    tasks, indices = references.column("task").to_pylist(), references.column("index").to_pylist()
    found: list[str | None] = []
    looks = thumbnails(rows.column("thumbnail8").to_pylist())
    for phash, look in zip(rows.column("phash").to_numpy().astype(np.uint64), looks, strict=True):
        bits_R = hamming(hashes_R, phash)
        near = np.flatnonzero(bits_R <= config.radius)
        distance = thumbnail_distance(looks_R[near], look)
        near, distance = near[distance <= config.thumbnail_distance], distance[distance <= config.thumbnail_distance]
        if not len(near):
            found.append(None)
            continue
        best = int(np.argmin(distance))
        place = int(near[best])
        found.append(
            f"{tasks[place]} {indices[place]}: {int(bits_R[place])} of 64 hash bits,"
            f" thumbnail distance {float(distance[best]):.2f}"
        )
    return found
