"""Queries: the list, the matching rule, and the balance of WIT.

CLIP (arXiv:2103.00020, section 2.2) keeps pairs whose text contains one of 500,000 queries, about 20,000 pairs per query
at most. MetaCLIP (arXiv:2309.16671, algorithm 1) states it as a rule: with count_e pairs for query e,

    p_e = t / max(count_e, t)        P(keep) = 1 - prod over matched e of (1 - p_e)

We draw the coin from a hash of (seed, uid). So the outcome depends on nothing but the pool: no order, no worker count, no
rerun changes it, and growing t only adds samples.
"""

import re
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


_PUNCTUATION = re.compile(r"([,.;:?!`])")


def spaced(text: str) -> str:
    """MetaCLIP's text form: punctuation wrapped in spaces, a space at each end (docs/metaclip1.md)."""
    return " " + _PUNCTUATION.sub(r" \1 ", text.translate(_BLANKS)) + " "


_BLANKS = str.maketrans("\t\r\n", "   ")


class Matcher:
    """Finds every query that stands as whole words in a text.

    A dictionary of token windows: one lookup per window whose first token begins a query of that length. It gives what a
    search for " query " in the spaced text gives, and costs the text's length, not the list's.
    """

    def __init__(self, queries: Sequence[str], rule: str = "normalised") -> None:
        self.queries = tuple(queries)
        self._fold = rule == "normalised"
        self._ids: dict[str, int] = {}
        lengths_of: dict[str, set[int]] = {}
        for number, query in enumerate(self.queries):
            form = query.lower() if self._fold else query
            tokens = form.split(" ")
            self._ids.setdefault(form, number)
            lengths_of.setdefault(tokens[0], set()).add(len(tokens))
        self._lengths = {token: tuple(sorted(lengths)) for token, lengths in lengths_of.items()}

    def match(self, texts: Iterable[str]) -> list[list[int]]:
        """For each text the sorted numbers of its queries, each once."""
        return [self._match(text) for text in texts]

    def _match(self, text: str) -> list[int]:
        form = spaced(text.lower() if self._fold else text)
        tokens = form.split(" ")
        lengths, ids = self._lengths, self._ids
        found: set[int] = set()
        # The first and the last token are the empty ends of the padding: no query begins or ends there.
        for start in range(1, len(tokens) - 1):
            token = tokens[start]
            for length in lengths.get(token, ()):
                if start + length >= len(tokens):
                    continue
                window = token if length == 1 else " ".join(tokens[start : start + length])
                number = ids.get(window)
                if number is not None:
                    found.add(number)
        return sorted(found)


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
