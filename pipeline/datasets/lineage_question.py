"""What somebody asks about a dataset: a key, a uid, or a URL of a picture or page; and which rows that means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.web.urls import UnusableURLError, address, canonical, host_of


@dataclass(frozen=True)
class Question:
    """One of key, uid and urls (as written, and in canonical form) is set. URLs mean those of another spelling, too."""

    key: str | None = None
    uid: str | None = None
    urls: tuple[str, ...] = ()

    @staticmethod
    def of(asked: str) -> "Question":
        """Raises ConfigError where it is nothing of the three."""
        word = asked.strip()
        if re.fullmatch(r"[0-9a-f]{32}", word):
            return Question(uid=word)
        if re.match(r"[a-z][a-z0-9+.-]*:", word, re.I):
            try:
                return Question(urls=tuple(dict.fromkeys((word, canonical(word)))))
            except UnusableURLError:
                return Question(urls=(word,))
        if not word or re.search(r"\s", word):
            raise ConfigError(f"{asked!r}: is no key, uid or URL; give 000000012, 32 hex digits or http://...")
        return Question(key=word)

    @property
    def kind(self) -> str:
        return "key" if self.key else "uid" if self.uid else "url"

    @property
    def host(self) -> str:
        try:
            return host_of(canonical(self.urls[-1]))
        except (UnusableURLError, IndexError):
            return ""

    def mask(self, table: pa.Table) -> Any:
        """Which rows of a table with columns uid and url, and perhaps key and page_url, are meant."""
        if self.key:
            return exact(table.column("key"), [self.key])
        if self.uid:
            return exact(table.column("uid"), [self.uid])
        found = self._named(table.column("url"))
        return pc.or_(found, self._named(table.column("page_url"))) if "page_url" in table.column_names else found

    def host_mask(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which of these URLs are of the asked one's host."""
        pattern = rf"^[a-z]+://{re.escape(self.host)}[:/]"
        return pc.fill_null(pc.match_substring_regex(column.cast(pa.string()), pattern), False)

    def _named(self, column: pa.ChunkedArray) -> Any:
        found = exact(column, self.urls)
        if not self.host:
            return found
        place = address(self.urls[-1])
        near = np.flatnonzero(self.host_mask(column).to_numpy())
        more = [
            at for at, url in zip(near, column.take(pa.array(near)).to_pylist(), strict=True) if address(url) == place
        ]
        if more:
            told = found.to_numpy(zero_copy_only=False).copy()
            told[more] = True
            return pa.chunked_array([pa.array(told)])
        return found


def exact(column: pa.ChunkedArray, values: Sequence[str]) -> Any:
    return pc.fill_null(pc.is_in(column.cast(pa.string()), pa.array(values, pa.string())), False)
