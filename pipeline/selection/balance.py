"""Balance: at most about t pairs per query, by MetaCLIP's closed form (arXiv:2309.16671, algorithm 1).

With count_e pairs for query e:

    p_e = t / max(count_e, t)        P(keep) = 1 - prod over matched e of (1 - p_e)

The coin is a hash of (seed, uid), so the outcome depends on nothing but the pool: no order, no worker count, no rerun changes
it. A larger t keeps all that a smaller t kept. A larger pool has larger counts, hence smaller p_e; with the counts of an
earlier selection (`BalanceConfig.counts`) p_e stays, and then a larger pool, too, only adds pairs; what a selection writes
holds the counts that it used, so the newest list serves as well as the first.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import xxhash

from pipeline import storage
from pipeline.compiled import compiled, frozen
from pipeline.errors import ConfigError


def tail_t(counts: np.ndarray, tail_fraction: float) -> int:
    """The smallest t at which queries with at most t matches hold at least `tail_fraction` of all matches."""
    ordered = np.sort(counts[counts > 0])
    if not len(ordered):
        return 1
    share = np.cumsum(ordered) / ordered.sum()
    return int(ordered[min(int(np.searchsorted(share, tail_fraction)), len(ordered) - 1)])


def from_uniform(counts: np.ndarray) -> float:
    """Bits by which the matches of all queries that have any differ from an even spread over them: Kullback and Leibler's
    divergence, log2(n) minus the entropy (Cover and Thomas 2006, section 2.3). 0 is perfectly balanced."""
    held = counts[counts > 0].astype(np.float64)
    if not len(held):
        return 0.0
    share = held / held.sum()
    return round(float(np.log2(len(held)) + (share * np.log2(share)).sum()), 6)


def probabilities(counts: np.ndarray, t: int) -> np.ndarray:
    """p_e = t / max(count_e, t) of every query, float64."""
    return t / np.maximum(counts, t).astype(np.float64)


def hash01(seed: int, uid: str) -> float:
    """A number in [0, 1) from (seed, uid): the coin of one pair (xxh64.hash01 does a column)."""
    return float(xxhash.xxh64_intdigest(uid.encode(), seed=seed) >> 11) / 2.0**53


def keep_probability(matched: Sequence[int], counts: np.ndarray, t: int) -> float:
    """1 - prod(1 - p_e) over the matched queries of one pair."""
    lost = 1.0
    for number in matched:
        lost *= 1.0 - t / max(int(counts[number]), t)
    return 1.0 - lost


def keep_probabilities(matched: pa.ListArray, chances: np.ndarray) -> np.ndarray:
    """The same for a column of matched queries, from p_e of every query; 0 for a pair without one."""
    ends = np.asarray(matched.offsets.to_numpy(), np.int64)
    numbers = np.asarray(matched.values.to_numpy(), np.int32)  # offsets point into all the values, also of a slice
    return np.asarray(_keep_probabilities(frozen(ends), frozen(numbers), frozen(chances)))


@compiled
def _keep_probabilities(ends, numbers, chances):  # type: ignore[no-untyped-def]
    out = np.empty(len(ends) - 1, np.float64)
    for i in range(len(out)):
        lost = 1.0
        for at in range(ends[i], ends[i + 1]):
            lost *= 1.0 - chances[numbers[at]]
        out[i] = 1.0 - lost
    return out


def earlier_counts(path: str, queries: Sequence[str]) -> np.ndarray:
    """The counts that an earlier selection balanced by, in the order of `queries`; 0 for a query it did not have.

    Where these were those of one earlier still, they are handed on, so that p_e stays along a chain of growing pools.

    Raises: ConfigError for a missing file, or one that is no such table.
    """
    if not storage.exists(path):
        raise ConfigError(f"curate.select.balance.counts: {path!r} does not exist; give queries.parquet of a selection")
    try:
        column = "counts" if "counts" in storage.read_schema(path).names else "before"  # one from before they were kept
        table = storage.read_table(path, ["query", column])
        known = dict(zip(table.column("query").to_pylist(), table.column(column).to_pylist(), strict=True))
        return np.array([known.get(query, 0) for query in queries], dtype=np.int64)
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"curate.select.balance.counts: {path!r} is no queries.parquet of a selection"
            f" ({str(error).splitlines()[0][:80]}); give one"
        ) from None
