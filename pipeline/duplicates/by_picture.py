"""Pictures that look the same: 64-bit pHashes within `radius`, then every finer descriptor must agree.

    cut      16 bytes of each row (hash, position) go to one partition per band, and to a neighbour's where a flip leads
    search   per partition: rows that have any partner are marked; the descriptors of these alone are fetched, block by
             block; the pairs are verified and united on the spot, so at most rows - 1 edges leave, however many pairs
             there are (a site's thousand shades of one logo are half a million)

A pHash sees neither colour nor contrast: the 8 x 8 colour thumbnail and the 256-bit pHash judge the pairs that it finds
(looks.py).
Memory of an item: 17 bytes per row of its partition, about 250 more per row with a partner.
"""

import functools

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.duplicates.clusters import chain, edge_output, files_of
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.hamming import BANDS, BITS, MARK, UNITE, partitions, search
from pipeline.duplicates.looks import LOOKS, Looks, looks_of
from pipeline.duplicates.pool import Pool
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Output, WorkItem, run_items
from pipeline.execution.progress import Progress


def said(pool: Pool) -> list[str]:
    """The columns that show a look; tables from before the 256-bit pHash do without it."""
    if not pool.facts.parts:
        return list(LOOKS)
    there = storage.read_schema(pool.facts.path(pool.facts.parts[0])).names
    return [name for name in LOOKS if name in there]


def high_bits_for(buckets: int) -> int:
    """Bits by which each band is cut, so that there are about as many partitions as `buckets`."""
    return min(BITS - 4, max(0, (max(1, buckets // BANDS) - 1).bit_length()))


def edges(
    config: DeduplicateConfig, pool: Pool, buckets: int, folder: str, executor: Executor, progress: Progress
) -> Files:
    """Edges that connect all rows whose pictures look the same."""
    high = high_bits_for(buckets)
    met = pool.regroup(
        functools.partial(_sent, pool, config.radius, high), BANDS << high, storage.join(folder, "met"), executor,
        progress, [config.radius, high],
    )  # fmt: skip
    limits = [config.thumbnails, config.thumbnail_distance, config.colour_distance, config.longer_radius]
    rule = [config.radius, limits, pool.whole_identity()]
    records = run_items(
        storage.join(folder, "near"),
        functools.partial(_near, config, pool, high),
        [WorkItem(f"near-{i:05d}", [part.sha256, rule], met.path(part)) for i, part in enumerate(met.parts)],
        executor,
        progress,
        "near pictures",
    )
    return files_of(storage.join(folder, "near"), records)


def _sent(pool: Pool, radius: int, high: int, block: int) -> pa.Table:
    return by_partition(pool.read(block, ["phash"]), radius, high)


def by_partition(rows: pa.Table, radius: int, high: int) -> pa.Table:
    """(key, hash, home, and what else the rows have): each row once per band, and as a visitor elsewhere; rows without a
    hash are left out."""
    rows = rows.filter(rows.column("phash").is_valid())
    hashes = rows.column("phash").to_numpy().astype(np.uint64)
    place, key, home = partitions(hashes, radius, high)
    sent = rows.drop_columns(["phash"]).take(pa.array(place))
    for name, values in (("key", key), ("hash", hashes[place]), ("home", home)):
        sent = sent.append_column(name, pa.array(values))
    return sent


def _near(config: DeduplicateConfig, pool: Pool, high: int, path: str) -> Output:
    rows = storage.read_table(path)
    partition = rows.column("key")[0].as_py()
    hashes, home = rows.column("hash").to_numpy(), rows.column("home").to_numpy(zero_copy_only=False)
    rows_at = rows.column("position").to_numpy()
    # Equal hashes are looked at once: blank pictures share one by the thousand.
    different, first, copies = np.unique(hashes, return_index=True, return_counts=True)
    marked = search(different, home[first], partition, high, config.radius, MARK) | (copies > 1)
    kept = np.flatnonzero(marked[np.searchsorted(different, hashes)])
    if not len(kept):
        return edge_output(rows.num_rows, np.zeros((0, 2), np.int64))
    hashes, home, positions = hashes[kept], home[kept], rows_at[kept]
    facts = pool.look_up(positions, said(pool))
    looks = looks_of(config, facts)
    same = chain(_as_numbers(hashes, looks))
    alone = np.ones(len(hashes), bool)
    alone[same[:, 1]] = False  # of rows that look exactly alike, the first stands for all
    alone = np.flatnonzero(alone)
    found = search(hashes[alone], home[alone], partition, high, config.radius, UNITE, looks.take(alone))
    return edge_output(rows.num_rows, np.concatenate([positions[same], positions[alone][found]]).reshape(-1, 2))


def _as_numbers(hashes: np.ndarray, looks: Looks) -> list[np.ndarray]:
    """The rows' looks as columns of numbers, for sorting."""
    small = np.ascontiguousarray(looks.thumbnails).reshape(len(hashes), -1, 8).view(np.uint64)[:, :, 0]
    return [*small.T, *looks.longer.T, looks.has_thumbnail, looks.has_longer, hashes]
