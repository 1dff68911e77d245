"""Equal bytes: rows meet by the SHA-256 of their download, all 256 bits of which are compared."""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.duplicates.clusters import chain, edge_output, files_of
from pipeline.duplicates.pool import Pool
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Output, run_items
from pipeline.execution.progress import Progress

SAID = ("sha256",)
PARTS = ("key", "part1", "part2", "part3")


def edges(pool: Pool, buckets: int, folder: str, executor: Executor, progress: Progress) -> Files:
    """Edges between rows of equal bytes; 40 bytes per row are sent."""
    met = pool.regroup(functools.partial(_sent, pool), buckets, storage.join(folder, "met"), executor, progress)
    records = run_items(storage.join(folder, "equal"), _equal, met.items("equal"), executor, progress, "equal bytes")
    return files_of(storage.join(folder, "equal"), records)


def _sent(pool: Pool, block: int) -> pa.Table:
    return digests(pool.read(block, ["sha256"]))


def digests(rows: pa.Table) -> pa.Table:
    """(key, part1, part2, part3, position, uid where rows have it): a digest as four numbers; rows without are left out."""
    rows = rows.filter(pc.match_substring_regex(rows.column("sha256"), "^[0-9a-f]{64}$"))
    parts = np.frombuffer(bytes.fromhex("".join(rows.column("sha256").to_pylist())), ">i8").astype(np.int64)
    columns = {name: pa.array(values) for name, values in zip(PARTS, parts.reshape(-1, 4).T, strict=True)}
    return pa.table(columns | {name: rows.column(name) for name in ("position", "uid") if name in rows.column_names})


def _equal(path: str) -> Output:
    rows = storage.read_table(path)
    positions = rows.column("position").to_numpy()
    found = chain([rows.column(name).to_numpy() for name in PARTS])
    return edge_output(rows.num_rows, positions[found].reshape(-1, 2))


def say(worse: pa.Table, better: pa.Table) -> list[str]:
    return [f"sha256 {digest}" for digest in worse.column("sha256").to_pylist()]
