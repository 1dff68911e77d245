"""Clusters of duplicates, and which pair of each stays.

Edges are pairs of positions. Their connected components are found in one item that holds the edges (some 60 bytes each
at its peak) and nothing of the rows; components do not depend on the order of edges, nor on how often one is given, so
neither a retried item nor another cut of the work changes them. Then each bucket of clusters is judged by the policy.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline import storage
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.pool import VERDICT, ByBlock, Pool, rank_columns
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, WorkItem, run_items
from pipeline.execution.progress import Progress

MEMBERS_PER_BUCKET = 500_000
EDGE = pa.schema([("left", pa.int64()), ("right", pa.int64())])
MEMBER = pa.schema([("position", pa.int64()), ("root", pa.int64())])

Say = Callable[[pa.Table, pa.Table], list[str]]
"""(facts of the pairs that fall, facts of those that stay instead) -> what was seen, one line for each."""


def edge_output(rows_in: int, edges: np.ndarray) -> Output:
    """Edges (E, 2) of positions as an item's output, sorted."""
    edges = np.sort(edges, axis=1)
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    table = pa.table([pa.array(edges[:, 0]), pa.array(edges[:, 1])], schema=EDGE)
    return Output({"edges": table}, {"rows": Fate(rows_in, rows_in)})


def chain(keys: Sequence[np.ndarray]) -> np.ndarray:
    """(E, 2) rows whose keys are all equal, each joined to the next one: few edges for large groups."""
    order = np.lexsort(tuple(keys))
    same = np.ones(max(0, len(order) - 1), bool)
    for key in keys:
        same &= key[order[1:]] == key[order[:-1]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def components(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(members, roots): every number in edges (E, 2), ascending, and the smallest of its component."""
    members, places = np.unique(edges, return_inverse=True)
    places = places.reshape(-1, 2)
    graph = coo_array((np.ones(len(places), np.int8), (places[:, 0], places[:, 1])), shape=(len(members),) * 2)
    labels = connected_components(graph, directed=False)[1]
    _, first = np.unique(labels, return_index=True)  # members ascend, so the first of a label is its smallest
    return members, members[first[labels]]


def clusters(
    edges: Sequence[Files], members_per_bucket: int, folder: str, executor: Executor, progress: Progress
) -> Files:
    """Tables (position, root), whole clusters in each, from tables of edges."""
    paths = [files.path(part) for files in edges for part in files.parts if part.rows]
    if not paths:
        return Files(folder, ())
    identity = [[part.sha256 for files in edges for part in files.parts], members_per_bucket]
    item = WorkItem("components", identity, paths)
    work = functools.partial(_components, members_per_bucket)
    record = run_items(folder, work, [item], executor, progress, "clusters")[0]
    return Files(folder, tuple(file for _, file in sorted(record.files.items())))


def _components(members_per_bucket: int, paths: list[str]) -> Output:
    tables = [storage.read_table(path) for path in paths]
    edges = np.concatenate([np.stack([t.column("left").to_numpy(), t.column("right").to_numpy()], 1) for t in tables])
    members, roots = components(edges)
    order = np.lexsort((members, roots))
    members, roots = members[order], roots[order]
    first = np.flatnonzero(np.concatenate([[True], roots[1:] != roots[:-1]]))
    # A cluster begins a new bucket when the members before it fill one.
    cuts = first[np.concatenate([[True], np.diff(first // members_per_bucket) > 0])]
    bounds = [*cuts.tolist(), len(members)]
    tables_out = {
        f"{number:05d}": pa.table([pa.array(members[a:b]), pa.array(roots[a:b])], schema=MEMBER)
        for number, (a, b) in enumerate(itertools.pairwise(bounds))
    }
    return Output(tables_out, {"members": Fate(len(members), len(members))})


def judge(
    config: DeduplicateConfig,
    pool: Pool,
    reason: str,
    groups: Files,
    say: Say,
    said_columns: Sequence[str],
    folder: str,
    executor: Executor,
    progress: Progress,
) -> ByBlock:
    """Verdicts on all but the best pair of each cluster; `say` finds the words in the facts `said_columns` of both."""
    records = run_items(
        folder,
        functools.partial(_judge, config, pool, reason, say, tuple(said_columns)),
        [
            WorkItem(f"judge-{number:05d}", [part.sha256, pool.whole_identity(), list(config.keep)], groups.path(part))
            for number, part in enumerate(groups.parts)
        ],
        executor,
        progress,
        f"choose by {', '.join(config.keep)}",
    )
    return ByBlock.of(folder, records)


def _judge(
    config: DeduplicateConfig, pool: Pool, reason: str, say: Say, said_columns: tuple[str, ...], path: str
) -> Output:
    groups = storage.read_table(path)
    positions, roots = groups.column("position").to_numpy(), groups.column("root").to_numpy()
    ranks = rank_columns(config)
    facts = pool.look_up(positions, list(dict.fromkeys(["uid", *ranks, *said_columns])))
    order = best_first(facts, ranks, roots)
    positions, roots = positions[order], roots[order]
    first = np.searchsorted(roots, roots)  # where each cluster begins: its best pair
    falls = np.flatnonzero(first != np.arange(len(roots)))
    verdicts = verdict_table(facts, order[falls], order[first[falls]], positions[falls], positions[first[falls]],
                             reason, say)  # fmt: skip
    return Output(pool.split(verdicts), {"members": Fate(len(order), len(order))})


def best_first(facts: pa.Table, ranks: Sequence[str], roots: np.ndarray) -> np.ndarray:
    """Row numbers by group (ascending), then by rank: largest first, missing last, equals by uid."""
    keys = [pc.rank(facts.column("uid").combine_chunks(), tiebreaker="min").to_numpy()]
    for name in reversed(ranks):
        values = facts.column(name).to_numpy(zero_copy_only=False).astype(np.float64)
        keys.append(np.where(np.isnan(values), np.inf, -values))  # lexsort's last key weighs most
    return np.lexsort((*keys, roots))


def verdict_table(
    facts: pa.Table,
    losers: np.ndarray,
    winners: np.ndarray,
    positions: np.ndarray,
    keepers: np.ndarray,
    reason: str,
    say: Say,
) -> pa.Table:
    """VERDICT rows; losers and winners are rows of `facts`, positions and keepers their places in the pool."""
    worse, better = facts.take(pa.array(losers)), facts.take(pa.array(winners))
    uids = better.column("uid").to_pylist()
    evidence = [f"of {uid}: {seen}" for uid, seen in zip(uids, say(worse, better), strict=True)]
    return pa.table(
        [pa.array(positions), pa.array(keepers), pa.array([reason] * len(losers), pa.string()),
         pa.array(evidence, pa.string())],
        schema=VERDICT,
    )  # fmt: skip


def files_of(folder: str, records: Sequence[Any]) -> Files:
    """The items' tables of edges."""
    return Files(folder, tuple(record.files["edges"] for record in records))
