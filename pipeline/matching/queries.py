"""Queries: the list, and the rule that says when a query stands in a text.

CLIP (arXiv:2103.00020, section 2.2) keeps pairs whose text contains one of 500,000 queries. MetaCLIP documents how
(arXiv:2309.16671, docs/metaclip1.md): both are padded with spaces, seven marks are wrapped in spaces, and " query " must
stand in the text. The rule `normalised` does the same after `fold` on both sides. This file is the definition, in plain
Python; `matcher.py` does it fast.
"""

import re
import unicodedata
from collections.abc import Iterable

from pydantic import Field

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.web.body import file_text

MARKS = ",.;:?!`"
"""The marks that MetaCLIP wraps in spaces."""


class QueriesConfig(Settings):
    """Where the query list comes from, and how texts are matched."""

    path: str | None = None
    """A text file, one query per line (`openwit queries` makes one); none takes the words of the texts themselves."""
    minimum_count: int = Field(100, ge=1)
    """When the list is taken from the texts: a word enters with this many occurrences (WIT: 100 in English Wikipedia)."""
    rule: str = Field("normalised", pattern="^(metaclip|normalised)$")
    """`metaclip`: its documented rule, case-sensitive; `normalised`: the same after case and Unicode are folded."""


LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = {"‘": "'", "’": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "\u00ad": ""}


def fold(text: str) -> str:
    """One form for texts that differ in case or in how Unicode writes them: NFKC, straight quotes, lower case.

    For ASCII this is `str.lower`. Lone surrogates, which no UTF-8 file can hold, become U+FFFD.
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", LONE_SURROGATE.sub("\ufffd", text))
    for mark, plain in _PLAIN.items():  # ten times as fast as one str.translate
        text = text.replace(mark, plain)
    return text.lower()


def spaced(text: str) -> str:
    """MetaCLIP's text form: marks wrapped in spaces, blanks to spaces, a space at each end."""
    for mark in MARKS:
        text = text.replace(mark, f" {mark} ")
    for blank in "\t\r\n":
        text = text.replace(blank, " ")
    return f" {text} "


def stands_in(query: str, text: str, rule: str = "normalised") -> bool:
    """The rule itself, for one query and one text: what the matcher must agree with, and what explains a match."""
    if rule == "normalised":
        query, text = fold(query), fold(text)
    return f" {query} " in spaced(text)


def read_queries(path: str) -> tuple[str, ...]:
    """The list in `path`, blank lines and doubles left out, order kept. Raises ConfigError for a missing or empty file."""
    if not storage.exists(path):
        raise ConfigError(
            f"curate.select.queries.path: {path!r} does not exist; give a text file with one query per line"
            " (openwit queries makes one)"
        )
    lines = file_text(storage.read_bytes(path)).split("\n")
    queries = tuple(dict.fromkeys(query for query in map(clean_query, lines) if query))
    if not queries:
        raise ConfigError(f"curate.select.queries.path: {path!r} holds no query; write one per line")
    return queries


def clean_query(line: str) -> str:
    """A line as a query: white space at the ends gone, inside single spaces."""
    return " ".join(line.split())


def words_of(text: str) -> Iterable[str]:
    """The folded words of a text that begin with a letter or digit: what a list from the texts is made of."""
    return (word for word in spaced(fold(text)).split() if word[0].isalnum())
