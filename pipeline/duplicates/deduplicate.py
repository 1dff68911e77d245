"""Deduplicate: one pair of each cluster of duplicates stays (the kinds lie in pipeline/duplicates).

    describe    the rows' facts, some 300 bytes each, in blocks; pictures are not read
    against     what a finished dataset holds already falls
    bytes       rows meet by SHA-256
    pictures    rows meet by bands of their pHash and are verified by finer descriptors
    captions    rows meet by MinHash and are verified by exact Jaccard
    embeddings  rows meet in clusters of k-means and are verified by cosine
    apply       each file loses its duplicates

Each kind sees what the kinds before it left. Which pair stays is a policy, not an accident of order, and evidence
compares each pair that falls with the one that stays: no order of rows, items, workers or retries changes an output.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.duplicates import against, by_bytes, by_caption, by_embedding, by_picture, looks
from pipeline.duplicates.clusters import MEMBERS_PER_BUCKET, Say, clusters, judge
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.pool import ByBlock, Pool, gather
from pipeline.duplicates.texts import as_texts, merge_texts, unique_texts
from pipeline.execution.batch import Batch
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Output, PhaseResult, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.sample import TEXTS

ROWS_PER_BUCKET = 1_000_000


def deduplicate(
    config: DeduplicateConfig,
    fetched: PhaseResult,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Drop all but one pair of every cluster of duplicates. Raises ConfigError for a column that the rows lack."""
    source = Files(fetched.folder, fetched.kept)
    pool, places = gather(config, source, storage.join(folder, "facts"), executor, progress)
    kinds = _Kinds(config, pool, folder, executor, progress)
    kinds.run()
    records = run_items(
        storage.join(folder, "apply"),
        functools.partial(_apply, pool.starts, tuple(kinds.layers), kinds.texts),
        [
            WorkItem(f"apply-{number:05d}", [part.sha256, kinds.identity(place[0])], (source.path(part), *place))
            for number, (part, place) in enumerate(zip(source.parts, places, strict=True))
        ],
        executor,
        progress,
        "drop duplicates",
    )
    applied = PhaseResult.of_records("deduplicate", folder, records)
    kept, dropped = (tuple(file.below("apply") for file in files) for files in (applied.kept, applied.dropped))
    result = PhaseResult("deduplicate", folder, kept, dropped, applied.fates)
    result.save()
    return result


class _Kinds:
    """The kinds, one after the other; each leaves its verdicts in `layers` and the rows that remain in `pool`."""

    def __init__(
        self, config: DeduplicateConfig, pool: Pool, folder: str, executor: Executor, progress: Progress
    ) -> None:
        self.config, self.pool, self.folder = config, pool, folder
        self.executor, self.progress = executor, progress
        self.buckets = config.buckets or max(4, -(-pool.rows // ROWS_PER_BUCKET))
        self.layers: list[ByBlock] = []
        self.texts: ByBlock | None = None

    def run(self) -> None:
        config, captions = self.config, self.config.captions
        if config.against:
            for verdicts in self._at("against", against.verdicts, config, self.pool, self.buckets):
                self._drop(verdicts)
        before, ours = self.pool, len(self.layers)
        edges = []
        if config.bytes:
            edges.append(self._at("bytes", by_bytes.edges, self.pool, self.buckets))
            self._fall("bytes", "duplicate_bytes", edges[-1:], by_bytes.say, by_bytes.SAID)
        if config.pictures:
            edges.append(self._at("pictures", by_picture.edges, config, self.pool, self.buckets))
            self._fall("pictures", "near_duplicate", edges[-1:], looks.say, by_picture.said(self.pool))
        say = functools.partial(by_caption.say, captions)
        if captions.scope == "same_picture":
            # Equal pictures alone are no reason to fall: their clusters say where captions are compared.
            del self.layers[ours:]
            self.pool = before
            groups = self._at("same", clusters, edges, MEMBERS_PER_BUCKET)
            self._fall("captions", "near_caption", [self._at("captions", by_caption.same_picture, captions, self.pool, groups)],
                       say, by_caption.SAID)  # fmt: skip
        if config.merge_texts:
            self.texts = self._at("texts", merge_texts, self.pool, self.layers[ours:])
        if captions.scope == "everywhere":
            self._fall("captions", "near_caption", [self._at("captions", by_caption.everywhere, captions, self.pool, self.buckets)],
                       say, by_caption.SAID)  # fmt: skip
        if config.embeddings.column:
            self._drop(self._at("embeddings", by_embedding.verdicts, config, self.pool, self.buckets))

    def identity(self, block: int) -> list[object]:
        """What the fate of a block's rows depends on."""
        return [[layer.identity(block) for layer in self.layers], self.texts.identity(block) if self.texts else None]

    def _at(self, name: str, work: Callable[..., Any], *given: Any) -> Any:
        return work(*given, storage.join(self.folder, name), self.executor, self.progress)

    def _fall(self, name: str, reason: str, edges: list[Files], say: Say, said: Sequence[str]) -> None:
        groups = self._at(f"{name}/clusters", clusters, edges, MEMBERS_PER_BUCKET)
        self._drop(self._at(f"{name}/judged", judge, self.config, self.pool, reason, groups, say, said))

    def _drop(self, verdicts: ByBlock) -> None:
        self.layers.append(verdicts)
        self.pool = self.pool.without(verdicts)


def _apply(
    starts: Sequence[int], layers: Sequence[ByBlock], texts: ByBlock | None, given: tuple[str, int, int]
) -> Output:
    path, block, offset = given
    rows = storage.read_without_pictures(path)
    start = starts[block] + offset
    reasons: list[str | None] = [None] * rows.num_rows
    evidence: list[str | None] = [None] * rows.num_rows
    for layer in layers:
        for verdict in _between(layer, block, start, rows.num_rows):
            reasons[verdict["position"] - start] = verdict["reason"]
            evidence[verdict["position"] - start] = verdict["evidence"]
    batch = Batch.of(rows)
    if texts is not None:
        own = batch.column("texts") if "texts" in rows.column_names else [as_texts(t) for t in batch.column("text")]
        for more in _between(texts, block, start, rows.num_rows):
            own[more["position"] - start] = unique_texts([*(own[more["position"] - start] or []), *more["texts"]])
        batch = batch.with_column("texts", own, TEXTS)
    return Output.of_batch(rows.num_rows, batch.drop(reasons, evidence))


def _between(layer: ByBlock, block: int, start: int, count: int) -> list[dict[str, Any]]:
    """The rows of a layer that lie in one source file."""
    found = layer.read(block)
    if found is None:
        return []
    first, last = np.searchsorted(found.column("position").to_numpy(), [start, start + count])
    rows: list[dict[str, Any]] = found.slice(first, last - first).to_pylist()
    return rows
