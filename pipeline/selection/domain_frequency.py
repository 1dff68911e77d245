"""Captions that stand on many pictures of one site: "Click to enlarge", a shop's name, a photo agency's line.

COYO-700M drops texts that occur more than 10 times in its whole pool, which also takes "a dog" from those who wrote it
themselves. Counted within one registered domain the same rule finds what a template wrote.

    count   one item per file: (domain, text) to 64 bits, and how many rows have it
    total   one item per bucket of those keys: the sums, of which only those above the limit stay

A row costs 16 bytes in the exchange. What stays (at most rows / limit keys of 12 bytes) is held by every worker later.
"""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.compiled import frozen
from pipeline.execution.exchange import Files, exchange
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.xxh64 import hash_texts

_SECOND_LEVEL = frozenset(
    (
        *("ac", "co", "com", "edu", "gob", "gouv", "gov", "go", "ltd", "me"),
        *("mil", "ne", "net", "nom", "nhs", "or", "org", "plc", "sch"),
    )
)
"""Labels under a country's domain where names are registered one level deeper (bbc.co.uk)."""


def registered_domain(host: str) -> str:
    """The part of a host name that somebody registered: "news.bbc.co.uk" gives "bbc.co.uk"; an address stays whole.

    By the common second levels, without the public suffix list: for shared hosting ("a.github.io") all sites are one.
    """
    labels = host.rstrip(".").lower().split(".")
    if len(labels) <= 2 or labels[-1].isdigit() or ":" in host:
        return host.lower()
    return ".".join(labels[-3:] if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL else labels[-2:])


def domains(rows: pa.Table) -> pa.Array:
    """The registered domain of each row's page, or of its picture where the page is unknown; "" for no host at all."""
    urls = pc.coalesce(rows.column("page_url"), rows.column("url")).combine_chunks()
    hosts = pc.struct_field(
        pc.extract_regex(urls, r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/:?#]*)"), "host"
    ).fill_null("")
    coded = hosts.dictionary_encode()
    return pa.array([registered_domain(host) for host in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)


def keys(rows: pa.Table) -> np.ndarray:
    """uint64 of (registered domain, text) of each row."""
    return hash_texts(pc.binary_join_element_wise(domains(rows), rows.column("text").combine_chunks(), "\0"))


def frequent_keys(
    source: Files, limit: int, buckets: int, folder: str, executor: Executor, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """(keys, counts) of the texts that stand on more than `limit` rows of one domain, sorted by key."""
    gathered = exchange(
        source, "bucket", buckets, folder, executor, progress, _count, "domain-frequency", order=("key",)
    )
    records = run_items(
        storage.join(folder, "total"),
        functools.partial(_total, limit),
        gathered.items("total", limit),
        executor,
        progress,
        "texts that repeat",
    )
    tables = [storage.read_table(storage.join(folder, "total", each.files["kept"].path)) for each in records]
    found = pa.concat_tables(tables) if tables else _table(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    key, count = found.column("key").to_numpy(), found.column("count").to_numpy()
    order = np.argsort(key)
    return frozen(key[order]), frozen(count[order])


def occurrences(rows: pa.Table, frequent: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """How many rows of its domain have the row's text where that is more than the limit, else 0."""
    key, count = frequent
    if not len(key):
        return np.zeros(rows.num_rows, np.int64)
    own = keys(rows)
    at = np.minimum(np.searchsorted(key, own), len(key) - 1)
    return np.where(key[at] == own, count[at], 0)


def _table(key: np.ndarray, count: np.ndarray) -> pa.Table:
    return pa.table({"key": pa.array(key, pa.uint64()), "count": pa.array(count, pa.int64())})


def _count(rows: pa.Table) -> pa.Table:
    key, count = np.unique(keys(rows), return_counts=True)
    return _table(key, count).append_column("bucket", pa.array((key >> np.uint64(1)).astype(np.int64)))


def _total(limit: int, path: str) -> Output:
    rows = storage.read_table(path, ["key", "count"])
    key, place = np.unique(rows.column("key").to_numpy(), return_inverse=True)
    count = np.bincount(place, weights=rows.column("count").to_numpy()).astype(np.int64)
    many = count > limit
    return Output({"kept": _table(key[many], count[many])}, {"texts": Fate(int(many.sum()), int(many.sum()))})
