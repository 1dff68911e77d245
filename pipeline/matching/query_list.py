"""Query lists as CLIP and MetaCLIP made theirs, from a word list and a text corpus, in bounded memory and exactly.

CLIP (arXiv:2103.00020, section 2.2): words with at least 100 occurrences in English Wikipedia, bigrams with high pointwise
mutual information, article names above a search volume, WordNet. MetaCLIP (arXiv:2309.16671, table 1) gives the numbers:
251,465 words, 100,646 bigrams (PMI at least 30: the threshold that met a budget of 100,000), 61,235 titles (viewed at least
70 times), 86,654 WordNet synsets; the numbers 0 to 99 stand first, and 500,000 entries end the list.

    read     each corpus file to chunks; words and titles are counted chunk by chunk, summed bucket by bucket
    bigrams  pairs of listed words only: a pair is at least as rare as its words, so nothing is missed

PMI = log2(count_ab * words / (count_a * count_b)) grows with the corpus' size, so a budget by rank carries over to another
corpus where a threshold does not; both can be given.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.execution.exchange import Files, exchange
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import File, Output, PhaseResult, Record, WorkItem, run_items
from pipeline.execution.progress import Progress, silent
from pipeline.matching.corpus import check_readable, read_corpus
from pipeline.matching.queries import clean_query, fold
from pipeline.matching.query_counts import (
    bigram_counts,
    pmi,
    title_counts,
    total_bigrams,
    total_titles,
    total_words,
    word_counts,
)
from pipeline.settings import Settings
from pipeline.web.body import file_text

MOST_BUCKETS = 64


class QueryListConfig(Settings):
    """What a query list is made from. At least one of word_lists, corpora and titles."""

    word_lists: tuple[str, ...] = ()
    """Files with one entry a line, or WordNet's form (synset id, tab, words with commas between)."""
    corpora: tuple[str, ...] = ()
    """Text files, JSON lines, Parquet or MediaWiki dumps, compressed or not: words, bigrams and, of dumps, titles."""
    titles: tuple[str, ...] = ()
    """Files with one title a line, beside those of the dumps."""
    views: tuple[str, ...] = ()
    """Hourly page view files of Wikimedia ("en Title 12 0"), or lines of title, tab, views."""
    language: str = Field("en", pattern="^[a-z-]{2,12}$")
    """Project code of the lines of page view files that count."""
    numbers: bool = True
    """Begin with the numbers 0 to 99 (MetaCLIP)."""
    first_form_only: bool = False
    """Of a synset's words take the first alone (MetaCLIP names synsets by it)."""
    minimum_count: int = Field(100, ge=1)
    """Occurrences of a word in the corpora (CLIP: 100)."""
    maximum_bigrams: int = Field(100_646, ge=0)
    """The bigrams of highest PMI, at most so many (MetaCLIP: 100,646)."""
    minimum_bigram_count: int = Field(100, ge=1)
    """Occurrences of a bigram: rare ones have a high PMI by chance."""
    minimum_pmi: float = 0.0
    """Lowest PMI in bits; below 0 a pair is rarer than chance. (MetaCLIP's 30 met its budget on all of Wikipedia.)"""
    minimum_views: int = Field(70, ge=0)
    """Views of a title, where view files are given (MetaCLIP: 70)."""
    maximum_entries: int = Field(500_000, ge=1)
    """Length of the list (CLIP: 500,000)."""
    maximum_entry_characters: int = Field(256, ge=1)
    """Longest entry (MetaCLIP: 256)."""


def build_query_list(
    config: QueryListConfig, folder: str, executor: Executor, progress: Progress = silent
) -> dict[str, Any]:
    """Write `folder`/queries.txt and queries.parquet (query, source, count, score); returns the counts by source.

    Raises: ConfigError for a file that does not exist or no source at all, DataError for a list without an entry.
    """
    _check(config)
    work = storage.join(folder, "work")
    chunks, records = _read(config.corpora, storage.join(work, "corpus"), executor, progress)
    words = _words(config, chunks, work, executor, progress)
    bigrams = _bigrams(config, chunks, words, work, executor, progress)
    titles = _titles(config, chunks, work, executor, progress)
    table = _assemble(config, words, bigrams, titles)
    if not table.num_rows:
        raise DataError("the query list is empty: nothing reached its minimum; lower minimum_count or give more text")
    lines = "".join(f"{query}\n" for query in table.column("query").to_pylist())
    storage.write_bytes(storage.join(folder, "queries.txt"), lines.encode())
    storage.write_table(storage.join(folder, "queries.parquet"), table)
    storage.remove_tree(work)
    kinds = table.column("source").value_counts().to_pylist()
    read = PhaseResult.of_records("corpus", work, records)
    return {
        "queries": table.num_rows,
        "sources": {entry["values"]: entry["counts"] for entry in kinds},
        "documents": read.fates["documents"].kept if records else 0,
        "bad_lines": sum(read.fates["documents"].reasons.values()) if records else 0,
        "damaged_files": read.telemetry.get("damaged_files", 0),
        "highest_pmi_bits": round(bigrams.column("score")[0].as_py(), 2) if bigrams.num_rows else None,
        "lowest_pmi_bits": round(bigrams.column("score")[-1].as_py(), 2) if bigrams.num_rows else None,
    }


def _check(config: QueryListConfig) -> None:
    if not (config.word_lists or config.corpora or config.titles or config.views):
        raise ConfigError("queries: nothing to make a list from; give a word list, a corpus or titles")
    for key in ("word_lists", "corpora", "titles", "views"):
        for path in getattr(config, key):
            check_readable(key, path)


def _read(paths: Sequence[str], folder: str, executor: Executor, progress: Progress) -> tuple[Files, list[Record]]:
    chunks = storage.join(folder, "chunks")
    items = [WorkItem(f"read-{i:04d}", storage.sha256_file(path), (i, path)) for i, path in enumerate(paths)]
    records = run_items(folder, functools.partial(read_corpus, chunks), items, executor, progress, "read the corpora")
    parts = [storage.read_table(storage.join(folder, record.files["kept"].path)).to_pylist() for record in records]
    return Files(chunks, tuple(File(**part) for own in parts for part in own)), records


def _buckets(chunks: Files) -> int:
    return min(MOST_BUCKETS, max(1, len(chunks.parts)))


def _totals(
    chunks: Files,
    prepare: Callable[[pa.Table], pa.Table],
    total: Callable[[str], Output],
    identity: Any,
    folder: str,
    executor: Executor,
    progress: Progress,
    what: str,
) -> pa.Table | None:
    """Count in every chunk, sum in every bucket of keys; the sums that `total` keeps, or None without any chunk."""
    gathered = exchange(chunks, "key", _buckets(chunks), folder, executor, progress, prepare, identity, order=("key",))
    records = run_items(
        storage.join(folder, "total"), total, gathered.items("total", identity), executor, progress, what
    )
    tables = [storage.read_table(storage.join(folder, "total", each.files["kept"].path)) for each in records]
    return pa.concat_tables(tables) if tables else None


def _words(config: QueryListConfig, chunks: Files, work: str, executor: Executor, progress: Progress) -> pa.Table:
    """query, count of the words that are frequent enough, most frequent first, and one null query: all the others."""
    found = _totals(
        chunks,
        word_counts,
        functools.partial(total_words, config.minimum_count),
        config.minimum_count,
        storage.join(work, "words"),
        executor,
        progress,
        "count words",
    )
    if found is None:
        return pa.table({"query": pa.array([], pa.string()), "count": pa.array([], pa.int64())})
    return found.sort_by([("count", "descending"), ("query", "ascending")])


def _bigrams(
    config: QueryListConfig, chunks: Files, words: pa.Table, work: str, executor: Executor, progress: Progress
) -> pa.Table:
    """query, count, score (PMI) of the bigrams that are frequent and close enough, highest score first."""
    empty = pa.table(
        {"query": pa.array([], pa.string()), "count": pa.array([], pa.int64()), "score": pa.array([], pa.float64())}
    )
    listed = words.filter(pc.is_valid(words.column("query")))
    if not config.maximum_bigrams or not listed.num_rows:
        return empty
    names, single = listed.column("query").combine_chunks(), listed.column("count").to_numpy()
    identity = [storage.sha256("\n".join(names.to_pylist()).encode()), config.minimum_bigram_count]
    found = _totals(
        chunks,
        functools.partial(bigram_counts, names),
        functools.partial(total_bigrams, config.minimum_bigram_count),
        identity,
        storage.join(work, "bigrams"),
        executor,
        progress,
        "count bigrams",
    )
    if found is None:
        return empty
    key, count = found.column("key").to_numpy(), found.column("count").to_numpy()
    score = pmi(key, count, single, int(pc.sum(words.column("count")).as_py()))
    best = np.lexsort((key, -score))
    best = best[score[best] >= config.minimum_pmi][: config.maximum_bigrams]
    first, second = names.take(pa.array(key[best] // len(names))), names.take(pa.array(key[best] % len(names)))
    return pa.table(
        {
            "query": pc.binary_join_element_wise(first, second, " "),
            "count": pa.array(count[best]),
            "score": pa.array(score[best]),
        }
    )


def _titles(config: QueryListConfig, chunks: Files, work: str, executor: Executor, progress: Progress) -> pa.Table:
    """query, count (views) of the titles, most viewed first, then by name."""
    lists, _ = _read(config.titles, storage.join(work, "titles"), executor, progress)
    views, _ = _read(config.views, storage.join(work, "views"), executor, progress)
    tables, buckets, named = [], max(map(_buckets, (chunks, lists, views))), bool(config.titles)
    for kind, source in (("corpus", chunks), ("titles", lists), ("views", views)):
        folder = storage.join(work, f"title-{kind}")
        prepare = functools.partial(title_counts, kind, config.language)
        gathered = exchange(source, "key", buckets, folder, executor, progress, prepare, config.language, ("key",))
        # A corpus of plain text names no title, so it cannot say which of those that were viewed are articles.
        named = named or (kind == "corpus" and any(file.rows for file in gathered.parts))
        tables.append({file.path.split("/")[1]: gathered.path(file) for file in gathered.parts})
    items = []
    for name in sorted(set().union(*tables)):
        paths = [own[name] for own in tables if name in own]
        items.append(WorkItem(name, [storage.sha256_file(path) for path in paths], paths))
    work_item = functools.partial(
        total_titles,
        named,
        config.minimum_views if config.views else 0,
        config.maximum_entries,
    )
    records = run_items(storage.join(work, "title-total"), work_item, items, executor, progress, "titles")
    found = [storage.read_table(storage.join(work, "title-total", each.files["kept"].path)) for each in records]
    if not found:
        return pa.table({"query": pa.array([], pa.string()), "count": pa.array([], pa.int64())})
    return pa.concat_tables(found).sort_by([("count", "descending"), ("query", "ascending")])


def _list_entries(path: str, first_form_only: bool) -> list[str]:
    entries: list[str] = []
    for line in file_text(storage.read_bytes(path)).split("\n"):
        forms = line.split("\t", 1)[1].split(",") if "\t" in line else [line]
        entries += [form.replace("_", " ") for form in (forms[:1] if first_form_only else forms)]
    return entries


def _assemble(config: QueryListConfig, words: pa.Table, bigrams: pa.Table, titles: pa.Table) -> pa.Table:
    """The union in MetaCLIP's order, each entry once under its first source, folded, cut at the list's length."""
    rows: dict[str, tuple[str, int | None, float | None]] = {}

    def add(entry: str | None, source: str, count: int | None = None, score: float | None = None) -> None:
        query = clean_query(fold(entry)) if entry else ""
        wordless = len(query) == 1 and not query.isalnum()
        if (
            query
            and not wordless
            and len(query) <= config.maximum_entry_characters
            and len(rows) < config.maximum_entries
        ):
            rows.setdefault(query, (source, count, score))

    if config.numbers:
        for number in range(100):
            add(str(number), "number")
    for path in config.word_lists:
        for entry in _list_entries(path, config.first_form_only):
            add(entry, "list")
    for table, source in ((words, "word"), (bigrams, "bigram"), (titles, "title")):
        for batch in table.to_batches(1 << 16):
            for row in batch.to_pylist():
                add(row["query"], source, row["count"], row.get("score"))
    return pa.table(
        {
            "query": pa.array(list(rows), pa.string()),
            "source": pa.array([source for source, _, _ in rows.values()], pa.string()),
            "count": pa.array([count for _, count, _ in rows.values()], pa.int64()),
            "score": pa.array([score for _, _, score in rows.values()], pa.float64()),
        }
    )
