"""A query list from the texts themselves, for a pool without one: its words with at least `minimum_count` occurrences.

    count   one item per file: each folded word and how often it stands there
    total   one item per bucket of words: the sums, of which only those that reach the minimum stay

So the whole vocabulary is never in one memory, only the list.
"""

import functools
from collections import Counter

import pyarrow as pa

from pipeline import storage
from pipeline.execution.exchange import Files, exchange
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Fate, Output, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.matching.queries import words_of


def frequent_words(
    source: Files, minimum_count: int, buckets: int, folder: str, executor: Executor, progress: Progress = silent
) -> tuple[str, ...]:
    """The words, sorted."""
    gathered = exchange(source, "word", buckets, folder, executor, progress, _count, "words", order=("word",))
    records = run_items(
        storage.join(folder, "total"),
        functools.partial(_total, minimum_count),
        gathered.items("total", minimum_count),
        executor,
        progress,
        "words of the texts",
    )
    words: list[str] = []
    for record in records:
        table = storage.read_table(storage.join(folder, "total", record.files["kept"].path))
        words += table.column("word").to_pylist()
    return tuple(sorted(words))


def _count(rows: pa.Table) -> pa.Table:
    counts = Counter(word for text in rows.column("text").to_pylist() for word in words_of(text))
    ordered = sorted(counts)
    return pa.table(
        {
            "word": pa.array(ordered, pa.string()),
            "count": pa.array([counts[word] for word in ordered], pa.int64()),
        }
    )


def _total(minimum_count: int, path: str) -> Output:
    summed = storage.read_table(path).group_by("word").aggregate([("count", "sum")])
    many = summed.filter(pa.compute.greater_equal(summed.column("count_sum"), minimum_count)).sort_by("word")
    return Output({"kept": many.select(["word"])}, {"words": Fate(many.num_rows, many.num_rows)})
