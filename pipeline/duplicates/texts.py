"""Merge texts: the pair that stays takes over what others said about its picture (MetaCLIP keeps several texts too).

A pair that fell may have fallen for one that fell later; the last one is found by following keepers, which are 16 bytes
per fallen row. The texts themselves are fetched in parts of about a million fallen rows.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.duplicates.pool import ByBlock, Pool
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress
from pipeline.sample import TEXTS

ROWS_PER_PART = 1_000_000
MERGED = pa.schema([("position", pa.int64()), ("texts", TEXTS)])


def merge_texts(pool: Pool, layers: Sequence[ByBlock], folder: str, executor: Executor, progress: Progress) -> ByBlock:
    """(position, texts) of every pair that stays for another one of the same picture; `layers` are verdicts on pictures."""
    files = [(layer.folder, file) for layer in layers for _, parts in sorted(layer.files.items()) for file in parts]
    paths = [storage.join(where, file.path) for where, file in files]
    parts = -(-sum(file.rows for _, file in files) // ROWS_PER_PART)
    identity = [[file.sha256 for _, file in files], pool.whole_identity()]
    items = [WorkItem(f"texts-{part:05d}", [identity, part, parts], (part, parts)) for part in range(parts)]
    work = functools.partial(_merge, pool, paths)
    return ByBlock.of(folder, run_items(folder, work, items, executor, progress, "merge texts"))


def last_keepers(fallen: np.ndarray, keepers: np.ndarray) -> np.ndarray:
    """For each fallen position, given ascending, the keeper that did not fall itself."""
    keepers = keepers.copy()
    while len(fallen):
        place = np.minimum(np.searchsorted(fallen, keepers), len(fallen) - 1)
        onward = fallen[place] == keepers
        if not onward.any():
            break
        keepers[onward] = keepers[place[onward]]
    return keepers


def _merge(pool: Pool, paths: Sequence[str], which: tuple[int, int]) -> Output:
    part, parts = which
    verdicts = pa.concat_tables([storage.read_table(path, ["position", "keeper"]) for path in paths])
    verdicts = verdicts.sort_by("position")
    fallen = verdicts.column("position").to_numpy()
    keepers = last_keepers(fallen, verdicts.column("keeper").to_numpy())
    mine = np.flatnonzero(keepers % parts == part)
    mine = mine[np.argsort(keepers[mine], kind="stable")]
    columns = ["texts"] if "texts" in storage.read_schema(pool.facts.path(pool.facts.parts[0])).names else ["text"]
    said = pool.look_up(fallen[mine], columns).column(columns[0]).to_pylist()
    gathered: dict[int, list[Any]] = {}
    for keeper, texts in zip(keepers[mine].tolist(), said, strict=True):
        gathered.setdefault(keeper, []).extend(texts or [] if columns == ["texts"] else as_texts(texts))
    rows = [{"position": keeper, "texts": unique_texts(texts)} for keeper, texts in gathered.items()]
    table = pa.Table.from_pylist(rows, schema=MERGED)
    return Output(pool.split(table), {"rows": Fate(len(mine), len(mine))})


def unique_texts(texts: Iterable[Any]) -> list[dict[str, Any]]:
    """Each text once, with the first of its origins, in alphabetical order."""
    ordered = sorted(texts, key=lambda each: (each["text"] or "", each["origin"] or ""))
    return list({each["text"]: dict(each) for each in reversed(ordered)}.values())[::-1]


def as_texts(text: str) -> list[dict[str, Any]]:
    """The texts of a row that has one text only."""
    return [{"text": text, "origin": None}]
