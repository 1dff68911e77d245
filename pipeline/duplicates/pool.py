"""Pool: all rows of the phase as compact facts, found by their position, and what has fallen so far.

The rows of a phase lie in many small files full of pictures. They are read once, and what deduplication needs of them
(some 300 bytes per row) goes to blocks of some 65,000 rows. A row's position is its number over all blocks, so rows are
named by 8 bytes; verdicts lie beside the blocks, one file per block and kind. No list of all rows is held anywhere.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.errors import ConfigError
from pipeline.execution.exchange import Files, regroup
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, File, Output, Record, WorkItem, run_items
from pipeline.execution.progress import Progress

VERDICT = pa.schema(
    [
        ("position", pa.int64()),
        ("keeper", pa.int64()),  # position of the pair that stays instead; -1 where that is in another dataset
        ("reason", pa.string()),
        ("evidence", pa.string()),
    ]
)

FACTS = ("uid", "text", "sha256", "phash", "thumbnail8", "phash256", "texts")
"""Columns of the rows that are carried over to the facts as they are; area, length, scores, embedding are added."""


@dataclass(frozen=True)
class ByBlock:
    """Tables of rows with a `position`, one or more files per block."""

    folder: str
    files: Mapping[int, tuple[File, ...]]

    @staticmethod
    def of(folder: str, records: Sequence[Record]) -> "ByBlock":
        """From items whose tables are labelled with the block's number."""
        found: dict[int, tuple[File, ...]] = {}
        for record in records:
            for label, file in sorted(record.files.items()):
                found[int(label)] = (*found.get(int(label), ()), file)
        return ByBlock(folder, found)

    def identity(self, block: int) -> list[str]:
        return [file.sha256 for file in self.files.get(block, ())]

    def read(self, block: int, columns: list[str] | None = None) -> pa.Table | None:
        """The rows of one block, by position; None where there are none."""
        files = self.files.get(block, ())
        tables = [storage.read_table(storage.join(self.folder, file.path), columns) for file in files]
        return pa.concat_tables(tables).sort_by("position") if tables else None


@dataclass(frozen=True)
class Pool:
    """Blocks of facts; `starts` is the position of each block's first row, and at its end the number of rows."""

    facts: Files
    starts: tuple[int, ...]
    fallen: tuple[ByBlock, ...] = ()

    @property
    def rows(self) -> int:
        return self.starts[-1]

    def without(self, verdicts: ByBlock) -> "Pool":
        return replace(self, fallen=(*self.fallen, verdicts))

    def identity(self, block: int) -> list[Any]:
        return [self.facts.parts[block].sha256, [layer.identity(block) for layer in self.fallen]]

    def whole_identity(self) -> str:
        return storage.sha256(storage.canonical_json([self.identity(b) for b in range(len(self.facts.parts))]))

    def items(self, name: str, identity: Any = None) -> list[WorkItem]:
        """A work item per block; its number is the argument."""
        blocks = range(len(self.facts.parts))
        return [WorkItem(f"{name}-{block:05d}", [self.identity(block), identity], block) for block in blocks]

    def read(self, block: int, columns: list[str]) -> pa.Table:
        """`columns` and `position` of a block's rows that have not fallen."""
        rows = storage.read_table(self.facts.path(self.facts.parts[block]), columns)
        alive = np.ones(rows.num_rows, bool)
        for layer in self.fallen:
            gone = layer.read(block, ["position"])
            if gone is not None:
                alive[gone.column("position").to_numpy() - self.starts[block]] = False
        rows = rows.append_column("position", pa.array(self.starts[block] + np.arange(rows.num_rows)))
        return rows if alive.all() else rows.filter(pa.array(alive))

    def look_up(self, positions: np.ndarray, columns: list[str]) -> pa.Table:
        """Facts of rows by position, in the order given; blocks are read one at a time, and only those needed."""
        wanted, back = np.unique(positions, return_inverse=True)
        edges = np.searchsorted(wanted, self.starts)
        found = [storage.read_table(self.facts.path(part), columns).slice(0, 0) for part in self.facts.parts[:1]]
        for block, part in enumerate(self.facts.parts):
            here = wanted[edges[block] : edges[block + 1]] - self.starts[block]
            if len(here):
                found.append(storage.read_table(self.facts.path(part), columns).take(pa.array(here)))
        return pa.concat_tables(found).combine_chunks().take(pa.array(back))

    def split(self, rows: pa.Table) -> dict[str, pa.Table]:
        """Rows with a `position`, by block: the tables of an item's output."""
        rows = rows.sort_by("position")
        edges = np.searchsorted(rows.column("position").to_numpy(), self.starts)
        return {
            f"{block:05d}": rows.slice(edges[block], edges[block + 1] - edges[block])
            for block in range(len(self.starts) - 1)
            if edges[block] < edges[block + 1]
        }

    def regroup(
        self,
        rows_of: "functools.partial[pa.Table]",
        buckets: int,
        folder: str,
        executor: Executor,
        progress: Progress,
        identity: Any = None,
    ) -> Files:
        """Bring what `rows_of(block)` makes of each block's rows into buckets by its column `key` (integers)."""
        return regroup(self.items("cut", [buckets, identity]), rows_of, "key", buckets, folder, executor, progress)


def settle(verdicts: ByBlock, folder: str, executor: Executor, progress: Progress) -> ByBlock:
    """One verdict for each row, where several items judged it: the first by keeper's uid and words."""
    items = [WorkItem(f"settle-{block:05d}", verdicts.identity(block), block) for block in sorted(verdicts.files)]
    records = run_items(folder, functools.partial(_settle, verdicts), items, executor, progress, "settle")
    return ByBlock.of(folder, records)


def _settle(verdicts: ByBlock, block: int) -> Output:
    rows = verdicts.read(block)
    assert rows is not None
    rows = rows.sort_by([("position", "ascending"), ("evidence", "ascending")])
    positions = rows.column("position").to_numpy()
    first = np.flatnonzero(np.concatenate([[True], positions[1:] != positions[:-1]]))
    settled = rows.take(pa.array(first))
    return Output({f"{block:05d}": settled}, {"rows": Fate(settled.num_rows, settled.num_rows)})


def rank_columns(config: DeduplicateConfig) -> list[str]:
    """The facts that decide which pair of a cluster stays, most important first; larger is better."""
    names = {"resolution": "area", "text_length": "length"}
    return [names.get(rule, rule) for rule in config.keep]


def gather(
    config: DeduplicateConfig, source: Files, folder: str, executor: Executor, progress: Progress
) -> tuple[Pool, list[tuple[int, int]]]:
    """The pool of a phase's rows, and for each source file its block and the row in it at which it begins.

    Raises ConfigError when the rows lack a column that the configuration names.
    """
    blocks: list[list[File]] = [[]]
    places: list[tuple[int, int]] = []
    rows = 0
    for part in source.parts:
        if rows >= config.rows_per_block:
            blocks.append([])
            rows = 0
        places.append((len(blocks) - 1, rows))
        blocks[-1].append(part)
        rows += part.rows
    columns, scores = _columns(config, source), [config.score_columns(), config.embeddings.column]
    items = [
        WorkItem(
            f"facts-{number:05d}", [[part.sha256 for part in parts], columns, scores], [source.path(p) for p in parts]
        )
        for number, parts in enumerate(blocks)
        if parts
    ]
    records = run_items(
        folder, functools.partial(_describe, config, columns), items, executor, progress, "describe rows"
    )
    facts = Files(folder, tuple(record.files["facts"] for record in records))
    starts = np.concatenate([[0], np.cumsum([part.rows for part in facts.parts])]).astype(int)
    return Pool(facts, tuple(starts.tolist())), places


def _columns(config: DeduplicateConfig, source: Files) -> list[str]:
    """Columns of the source that are copied to the facts."""
    wanted = [*FACTS[:5], "original_width", "original_height"]
    if not source.parts:
        return wanted
    there = storage.read_schema(source.path(source.parts[0])).names
    for key, name in [("keep", column) for column in config.score_columns()] + [
        ("embeddings.column", config.embeddings.column)
    ]:
        if name is not None and name not in there:
            raise ConfigError(
                f"curate.deduplicate.{key}: the rows have no column {name!r}; let curate.score write it,"
                f" or take one of {', '.join(sorted(there))}"
            )
    wanted += [name for name in ("phash256", "texts" if config.merge_texts else "") if name in there]
    scores = [*config.score_columns(), *([config.embeddings.column] if config.embeddings.column else [])]
    return wanted + [name for name in dict.fromkeys(scores) if name not in wanted]


def _describe(config: DeduplicateConfig, columns: list[str], paths: list[str]) -> Output:
    rows = pa.concat_tables([storage.read_table(path, columns) for path in paths], promote_options="permissive")
    wide, high = (pc.cast(rows.column(f"original_{side}"), pa.int64()) for side in ("width", "height"))
    carried = {name: rows.column(name) for name in columns if name in FACTS}
    carried |= {"area": pc.multiply(wide, high), "length": pc.cast(pc.utf8_length(rows.column("text")), pa.int64())}
    carried |= {f"score:{name}": pc.cast(rows.column(name), pa.float64()) for name in config.score_columns()}
    if config.embeddings.column:
        carried["embedding"] = rows.column(config.embeddings.column)
    facts = pa.table(carried)
    return Output({"facts": facts}, {"rows": Fate(facts.num_rows, facts.num_rows)})
