"""Queries: the list, the matching rule, and the balance of WIT.

CLIP (arXiv:2103.00020, section 2.2) keeps pairs whose text contains one of 500,000 queries, about 20,000 pairs per query
at most. MetaCLIP (arXiv:2309.16671, algorithm 1) states it as a rule: with count_e pairs for query e,

    p_e = t / max(count_e, t)        P(keep) = 1 - prod over matched e of (1 - p_e)

We draw the coin from a hash of (seed, uid). So the outcome depends on nothing but the pool: no order, no worker count, no
rerun changes it, and growing t only adds samples.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import xxhash
from pydantic import Field

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.settings import Settings


class QueriesConfig(Settings):
    """Where the query list comes from, and how texts are matched."""

    path: str | None = None
    """A text file, one query per line; none builds the list from the texts themselves."""
    minimum_count: int = Field(100, ge=1)
    """When the list is built: a word enters with this many occurrences (WIT: 100 in English Wikipedia)."""
    rule: str = Field("normalised", pattern="^(metaclip|normalised)$")
    """`metaclip`: its documented rule, case-sensitive; `normalised`: the same on lower-cased text."""


class BalanceConfig(Settings):
    """How many pairs one query may bring."""

    t: int | None = Field(None, ge=1)
    """Pairs per query (WIT: 20,000); none chooses t so that the tail holds `tail_fraction` of all matches."""
    tail_fraction: float = Field(0.06, gt=0, lt=1)
    """MetaCLIP's rule for any pool size: 6 % of the matches belong to queries below t."""
    seed: int = 0
    """Seed of the coin."""


def spaced(text: str) -> str:
    """MetaCLIP's text form: punctuation wrapped in spaces, a space at each end (docs/metaclip1.md)."""
    # A search and a replacement for each mark that is there: four times as fast as one regular expression.
    for mark in ",.;:?!`":
        if mark in text:
            text = text.replace(mark, f" {mark} ")
    for blank in "\t\r\n":
        if blank in text:
            text = text.replace(blank, " ")
    return f" {text} "


class Matcher:
    """Finds every query that stands as whole words in a text, as a search for " query " in the spaced text would.

    Queries of one word and the first two words of the longer ones are sets that Python intersects with a text's words and
    pairs of words at once; only a pair that begins a query is looked at further. So the cost is the text's length, not the
    list's. An Aho-Corasick automaton in C matches faster and takes longer to build (infra/benchmarks).
    """

    def __init__(self, queries: Sequence[str], rule: str = "normalised") -> None:
        self.queries = tuple(queries)
        self._fold = rule == "normalised"
        self._words: dict[str, int] = {}
        self._pairs: dict[tuple[str, ...], int] = {}
        self._longer: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}
        for number, query in enumerate(self.queries):
            tokens = tuple((query.lower() if self._fold else query).split(" "))
            if len(tokens) == 1:
                self._words.setdefault(tokens[0], number)
            elif len(tokens) == 2:
                self._pairs.setdefault(tokens, number)
            else:
                self._longer.setdefault(tokens[:2], {}).setdefault(tokens, number)
        self._word_set, self._pair_set = frozenset(self._words), frozenset(self._pairs).union(self._longer)

    def match(self, texts: Iterable[str]) -> list[list[int]]:
        """For each text the sorted numbers of its queries, each once."""
        return [self._match(text) for text in texts]

    def _match(self, text: str) -> list[int]:
        # Without the empty ends of the padding: no query begins or ends there.
        tokens = spaced(text.lower() if self._fold else text)[1:-1].split(" ")
        words, pairs, longer = self._words, self._pairs, self._longer
        found = [words[word] for word in self._word_set.intersection(tokens)]
        for pair in self._pair_set.intersection(itertools.pairwise(tokens)):
            if pair in pairs:
                found.append(pairs[pair])
            if pair in longer:
                found += _beginning(pair, longer[pair], tokens)
        found.sort()
        return found


def _beginning(pair: tuple[str, ...], queries: dict[tuple[str, ...], int], tokens: list[str]) -> set[int]:
    """Those of `queries`, which all begin with `pair`, that stand in `tokens`."""
    first, second = pair
    lengths = {len(query) for query in queries}
    found = set()
    for start in range(len(tokens) - 2):
        if tokens[start] == first and tokens[start + 1] == second:
            for length in lengths:
                number = queries.get(tuple(tokens[start : start + length]))
                if number is not None:
                    found.add(number)
    return found


def read_queries(path: str) -> tuple[str, ...]:
    """The list in `path`, blank lines and doubles left out, order kept. Raises ConfigError for a missing or empty file."""
    if not storage.exists(path):
        raise ConfigError(
            f"curate.select.queries.path: {path!r} does not exist; give a text file with one query per line"
        )
    lines = storage.read_bytes(path).decode("utf-8", "replace").splitlines()
    queries = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not queries:
        raise ConfigError(f"curate.select.queries.path: {path!r} holds no query; write one per line")
    return queries


def count_words(texts: Iterable[str]) -> dict[str, int]:
    """How often each lower-cased word of letters or digits stands in `texts`."""
    counts: dict[str, int] = {}
    for text in texts:
        for word in spaced(text.lower()).split():
            if word[0].isalnum():
                counts[word] = counts.get(word, 0) + 1
    return counts


def tail_t(counts: np.ndarray, tail_fraction: float) -> int:
    """The smallest t at which queries with fewer than t matches hold at least `tail_fraction` of all matches."""
    ordered = np.sort(counts[counts > 0])
    if not len(ordered):
        return 1
    share = np.cumsum(ordered) / ordered.sum()
    return int(ordered[min(int(np.searchsorted(share, tail_fraction)), len(ordered) - 1)])


def hash01(seed: int, uid: str) -> float:
    """A number in [0, 1) from (seed, uid): the coin of the balance."""
    return xxhash.xxh64_intdigest(uid.encode(), seed=seed) / 2.0**64


def keep_probability(matched: Sequence[int], counts: np.ndarray, t: int) -> float:
    """1 - prod(1 - t / max(count_e, t)) over the matched queries."""
    lost = 1.0
    for number in matched:
        lost *= 1.0 - t / max(int(counts[number]), t)
    return 1.0 - lost
