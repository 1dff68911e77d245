"""Near embeddings, by SemDeDup's idea (Abbas et al. 2023, arXiv:2303.09540): clusters of k-means, cosines within each.

Within a cluster pairs are ordered by the policy, best first, and a pair falls when any better one has a cosine above
1 - epsilon (the paper orders by distance from the centroid). As in the paper, near pairs in different clusters are
missed; `probes` compares each row in its two nearest clusters. Each row's embedding is sent once per probe; an item holds
the clusters of one bucket. Cosines near the threshold are computed again in 64 bits: CPU and GPU give the same verdicts.
"""

import functools
import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import xxhash

from pipeline import storage
from pipeline.duplicates.clusters import best_first
from pipeline.duplicates.config import DeduplicateConfig, EmbeddingConfig
from pipeline.duplicates.kmeans import kmeans, nearest, products, unit
from pipeline.duplicates.pool import VERDICT, ByBlock, Pool, rank_columns, settle
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress

ROWS_PER_CLUSTER = 2000
ROWS_PER_BUCKET = 100_000
ROWS_AT_ONCE = 1024
MARGIN = 1e-4
"""Above what 32-bit arithmetic may be wrong by."""


def verdicts(
    config: DeduplicateConfig, pool: Pool, buckets: int, folder: str, executor: Executor, progress: Progress
) -> ByBlock:
    """Verdicts on every pair whose embedding is near a better one's."""
    rule = config.embeddings
    clusters = rule.clusters or max(1, -(-pool.rows // ROWS_PER_CLUSTER))
    share = min(1.0, clusters * rule.sample_per_cluster / max(1, pool.rows))
    samples = run_items(
        storage.join(folder, "sample"),
        functools.partial(_sample, pool, share),
        pool.items("sample", share),
        executor,
        progress,
        "sample embeddings",
    )
    taken = Files(storage.join(folder, "sample"), tuple(record.files["rows"] for record in samples))
    if not sum(part.rows for part in taken.parts):
        return ByBlock(folder, {})
    learn = WorkItem(
        "centroids",
        [[part.sha256 for part in taken.parts], clusters, rule.iterations],
        [taken.path(p) for p in taken.parts],
    )
    learned = run_items(
        storage.join(folder, "learn"), functools.partial(_learn, rule, clusters), [learn], executor, progress, "k-means"
    )[0].files["centroids"]
    centroids = storage.join(folder, "learn", learned.path)
    parts = min(clusters, max(buckets, -(-pool.rows * rule.probes // ROWS_PER_BUCKET)))
    met = pool.regroup(functools.partial(_sent, config, pool, centroids), parts,
                       storage.join(folder, "met"), executor, progress, [learned.sha256, rule.probes, config.keep])  # fmt: skip
    found = run_items(
        storage.join(folder, "near"),
        functools.partial(_near, config, pool),
        met.items("near", [rule.epsilon, pool.whole_identity(), config.keep]),
        executor,
        progress,
        "near embeddings",
    )
    return settle(ByBlock.of(storage.join(folder, "near"), found), storage.join(folder, "settled"), executor, progress)


def vectors(rows: pa.Table, size: int | None = None) -> tuple[np.ndarray, pa.Table]:
    """((N, D) float32 unit vectors, their rows): rows without a usable embedding (of `size`, else the usual size) are left
    out."""
    rows = rows.filter(rows.column("embedding").is_valid())
    lists = rows.column("embedding").combine_chunks()
    sizes = np.asarray(lists.value_lengths().to_numpy(zero_copy_only=False))
    usual = size or (int(np.bincount(sizes).argmax()) if len(sizes) else 1)
    rows = rows.filter(pa.array(sizes == usual))
    flat = rows.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    found, good = unit(flat.astype(np.float32).reshape(rows.num_rows, usual))
    return found[good], rows.filter(pa.array(good))


def _as_column(values_ND: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values_ND.ravel(), pa.float32()), max(1, values_ND.shape[1]))


def _sample(pool: Pool, share: float, block: int) -> Output:
    rows = pool.read(block, ["uid", "embedding"])
    order = np.array([xxhash.xxh64_intdigest(uid.encode()) for uid in rows.column("uid").to_pylist()], dtype=np.uint64)
    chosen = np.ones(len(order), bool) if share >= 1 else order < np.uint64(share * 2.0**64)
    found, usable = vectors(rows.append_column("order", pa.array(order)).filter(pa.array(chosen)))
    table = pa.table({"order": usable.column("order"), "embedding": _as_column(found)})
    return Output({"rows": table}, {"rows": Fate(table.num_rows, table.num_rows)})


def _learn(rule: EmbeddingConfig, clusters: int, paths: list[str]) -> Output:
    tables = [storage.read_table(path) for path in paths]
    sizes: Counter[int] = Counter()
    for table in tables:
        sizes[table.column("embedding").type.list_size] += table.num_rows
    size = max(sizes, key=lambda each: (sizes[each], each))
    same = [table for table in tables if table.column("embedding").type.list_size == size]
    rows = pa.concat_tables(same).sort_by("order")  # by a hash of the uid: a random order that is always the same
    found, _ = vectors(rows)
    centroids = kmeans(found, clusters, rule.iterations, rule.device)
    table = pa.table({"embedding": _as_column(centroids)})
    return Output({"centroids": table}, {"rows": Fate(rows.num_rows, rows.num_rows)})


def _sent(config: DeduplicateConfig, pool: Pool, centroids: str, block: int) -> pa.Table:
    """(key, position, uid, ranks, embedding) once for each of the row's nearest clusters."""
    rule, ranks = config.embeddings, rank_columns(config)
    centres = storage.read_table(centroids).column("embedding").combine_chunks()
    size = centres.type.list_size
    found, rows = vectors(pool.read(block, ["uid", *ranks, "embedding"]), size)
    centres = centres.flatten().to_numpy().reshape(-1, size)
    clusters = nearest(found, centres, min(rule.probes, len(centres)), rule.device)
    place = np.repeat(np.arange(len(found)), clusters.shape[1])
    table = rows.select(["uid", "position", *ranks]).append_column("embedding", _as_column(found)).take(pa.array(place))
    return table.append_column("key", pa.array(clusters.ravel()))


def _near(config: DeduplicateConfig, pool: Pool, path: str) -> Output:
    rows = storage.read_table(path)
    key = rows.column("key").to_numpy()
    order = best_first(rows, rank_columns(config), key)
    rows, key = rows.take(pa.array(order)), key[order]
    bounds = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1], [True]])) if len(key) else np.zeros(1, int)
    uids, positions = rows.column("uid"), rows.column("position").to_numpy()
    verdicts: list[tuple[int, int, str, str]] = []
    for a, b in itertools.pairwise(bounds.tolist()):
        found, _ = vectors(rows.slice(a, b - a))
        for worse, better, cosine in first_better(found, config.embeddings.epsilon, config.embeddings.device):
            said = f"of {uids[int(a + better)]}: cosine {cosine:.3f}"
            verdicts.append((int(positions[a + worse]), int(positions[a + better]), "near_embedding", said))
    columns = [[verdict[place] for verdict in verdicts] for place in range(len(VERDICT))]
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, VERDICT, strict=True)], schema=VERDICT
    )
    return Output(pool.split(table), {"rows": Fate(rows.num_rows, rows.num_rows)})


def first_better(vectors_ND: np.ndarray, epsilon: float, device: str) -> list[tuple[int, int, float]]:
    """(row, the first row before it with a cosine above 1 - epsilon, that cosine), for every row that has one."""
    found = []
    for start in range(0, len(vectors_ND), ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, len(vectors_ND))
        similar = products(vectors_ND[start:stop], vectors_ND[:stop], device)
        similar[:, start:][np.triu_indices(stop - start)] = -2  # only better ones count
        for row in np.flatnonzero(similar.max(axis=1) > 1 - epsilon - MARGIN):
            for other in np.flatnonzero(similar[row] > 1 - epsilon - MARGIN):
                cosine = float(vectors_ND[start + row].astype(np.float64) @ vectors_ND[other].astype(np.float64))
                if cosine > 1 - epsilon:
                    found.append((int(start + row), int(other), cosine))
                    break
    return found
