"""The counting passes of a query list: words, bigrams and titles of one chunk, and the sums of one bucket.

All in Arrow's and numpy's own loops. A chunk's tables are bounded by the chunk, a bucket's by the vocabulary over the buckets.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.execution.ledger import Fate, Output

_MARKS = r"[,.;:?!`\"()\[\]{}“”„«»—–…]|--+"
_WORD = r"^[\pL\pN]"


def words_of_all(texts: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """(all words of the texts, folded, marks among them as words of their own; index of each text's end)."""
    folded = pc.utf8_lower(pc.utf8_normalize(texts.combine_chunks().fill_null(""), "NFKC"))
    folded = pc.replace_substring_regex(pc.replace_substring_regex(folded, "[‘’]", "'"), f"({_MARKS})", r" \1 ")
    lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(folded))
    return lists.flatten(), np.asarray(lists.offsets)[1:] - int(np.asarray(lists.offsets)[0])


def word_counts(rows: pa.Table) -> pa.Table:
    """key (the word), count of a chunk; only what begins with a letter or digit."""
    words, _ = words_of_all(rows.column("text"))
    counted = pc.value_counts(words)
    table = pa.table({"key": counted.field("values"), "count": counted.field("counts")})
    return table.filter(pc.match_substring_regex(table.column("key"), _WORD))


def total_words(minimum: int, path: str) -> Output:
    """query, count of a bucket's words that reach the minimum; all others as one row without a query."""
    rows = storage.read_table(path).group_by("key").aggregate([("count", "sum")])
    many = pc.greater_equal(rows.column("count_sum"), minimum)
    kept, rare = rows.filter(many), rows.filter(pc.invert(many))
    table = pa.table({"query": kept.column("key"), "count": kept.column("count_sum")}).sort_by("query")
    rest = pa.table(
        {
            "query": pa.array([None], pa.string()),
            "count": pa.array([pc.sum(rare.column("count_sum")).as_py() or 0], pa.int64()),
        }
    )
    return _output(pa.concat_tables([table.combine_chunks(), rest]))


def bigram_counts(words: pa.Array, rows: pa.Table) -> pa.Table:
    """key (number of the first word * words + number of the second), count of a chunk.

    A word that is not listed, or a mark, stands between its neighbours: only true neighbours make a pair.
    """
    tokens, ends = words_of_all(rows.column("text"))
    numbers = pc.index_in(tokens, words).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if len(numbers) < 2:
        key = np.zeros(0, np.int64)
        return pa.table({"key": key, "count": key})
    joined = (numbers[:-1] >= 0) & (numbers[1:] >= 0)
    inside = ends[(ends > 0) & (ends < len(numbers))]
    joined[inside - 1] = False
    key, count = np.unique((numbers[:-1] * len(words) + numbers[1:])[joined], return_counts=True)
    return pa.table({"key": key, "count": count.astype(np.int64)})


def total_bigrams(minimum: int, path: str) -> Output:
    rows = storage.read_table(path).group_by("key").aggregate([("count", "sum")])
    rows = rows.filter(pc.greater_equal(rows.column("count_sum"), minimum)).sort_by("key")
    return _output(pa.table({"key": rows.column("key"), "count": rows.column("count_sum")}))


def pmi(key: np.ndarray, count: np.ndarray, single: np.ndarray, total: int) -> np.ndarray:
    """log2(count_ab * total / (count_a * count_b)); `single` are the counts of the listed words, `total` all words."""
    first, second = single[key // len(single)], single[key % len(single)]
    return np.asarray(np.log2(count.astype(np.float64) * total / (first.astype(np.float64) * second)))


def title_counts(kind: str, language: str, rows: pa.Table) -> pa.Table:
    """key (the title), views, known (from a dump or list of titles) of a chunk."""
    if kind == "views":
        return _views(language, rows.column("text").combine_chunks())
    titles = rows.column("title" if kind == "corpus" else "text").combine_chunks()
    titles = _clean_titles(titles.filter(pc.is_valid(titles))).unique()
    return pa.table(
        {
            "key": titles,
            "views": pa.array(np.zeros(len(titles), np.int64)),
            "known": pa.array(np.ones(len(titles), bool)),
        }
    )


def _clean_titles(titles: pa.Array) -> pa.Array:
    # The part in brackets tells articles apart ("Mercury (planet)") and stands in no caption.
    bare = pc.replace_substring_regex(pc.replace_substring(titles, "_", " "), r" \([^()]*\)\s*$", "")
    return pc.utf8_trim_whitespace(bare)


def _views(language: str, lines: pa.Array) -> pa.Table:
    hour, pair = rf"{language} (?P<page>[^ ]+) (?P<hits>[0-9]+) [0-9]+", r"(?P<title>[^\t]+)\t(?P<views>[0-9]+)"
    fields = pc.extract_regex(lines, rf"^(?:{hour}|{pair})\s*$")
    fields = fields.filter(pc.is_valid(fields))
    page, title = fields.field("page"), fields.field("title")
    hourly = pc.not_equal(page, "")
    names = _clean_titles(pc.if_else(hourly, page, title))
    numbers = (
        pc.if_else(hourly, fields.field("hits"), fields.field("views")).cast(pa.float64()).cast(pa.int64(), safe=False)
    )
    table = pa.table({"key": names, "views": numbers})
    table = table.filter(pc.invert(pc.match_substring(table.column("key"), ":")))
    summed = table.group_by("key").aggregate([("views", "sum")])
    return pa.table(
        {
            "key": summed.column("key"),
            "views": summed.column("views_sum"),
            "known": pa.array(np.zeros(summed.num_rows, bool)),
        }
    )


def total_titles(only_known: bool, minimum_views: int, maximum: int, paths: list[str]) -> Output:
    """query, count (views) of a bucket's titles; `only_known` asks that a dump or a list names them."""
    rows = pa.concat_tables([storage.read_table(path) for path in paths])
    rows = rows.group_by("key").aggregate([("views", "sum"), ("known", "any")])
    good = pc.and_(pc.greater_equal(rows.column("views_sum"), minimum_views), pc.not_equal(rows.column("key"), ""))
    rows = rows.filter(pc.and_(good, rows.column("known_any")) if only_known else good)
    rows = rows.sort_by([("views_sum", "descending"), ("key", "ascending")]).slice(0, maximum)
    return _output(pa.table({"query": rows.column("key"), "count": rows.column("views_sum")}))


def _output(table: pa.Table) -> Output:
    return Output({"kept": table}, {"entries": Fate(table.num_rows, table.num_rows)})
