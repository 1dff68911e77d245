"""Exclusion: which pairs must not be in a dataset, as somebody's list says: URLs, domains, hashes, uids.

Used to take samples out of a finished dataset (pipeline/datasets/takedown.py) and to keep them out of the next one: the tombstones
that a takedown writes are a list of this kind too, one rule per line:

    url http://example.org/a.jpg      this picture, or every picture of this page, over http or https, however it is escaped
    domain example.org                pictures and pages of this host and of all below it
    sha256 <64 hex digits>            pictures whose downloaded bytes have this hash
    uid <32 hex digits>               this pair
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.execution.batch import Batch
from pipeline.web.urls import UnusableURLError, address, canonical, from_a_list, host_of

KINDS = ("url", "domain", "sha256", "uid")
COLUMNS = ("uid", "url", "page_url", "sha256")
"""What is looked at in a row; a column that is not there matches nothing."""

_FORMS = {
    "domain": re.compile(r"(?=.{1,253}$)[^\s/:@.]+(\.[^\s/:@.]+)*"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "uid": re.compile(r"[0-9a-f]{32}"),
    "url": re.compile(r"\S.*"),
}


class Exclusions:
    """Rules by kind. Some 100 bytes of memory per rule, 200 per URL."""

    def __init__(self) -> None:
        self.rules: dict[str, set[str]] = {kind: set() for kind in KINDS}
        self._by_address: tuple[int, dict[str, str]] = (0, {})

    def __len__(self) -> int:
        return sum(map(len, self.rules.values()))

    def lines(self) -> list[str]:
        """The rules as a file holds them, sorted."""
        return [f"{kind} {value}" for kind in KINDS for value in sorted(self.rules[kind])]

    def add(self, kind: str, value: str, where: str = "") -> None:
        """Raises ConfigError naming `where` when the value is none of its kind."""
        word = value.strip()
        if kind == "hash":
            kind = "uid" if len(word) == 32 else "sha256"
        if kind in ("domain", "sha256", "uid"):
            word = word.lower().strip(".").removeprefix("*.")
        if kind not in KINDS or not _FORMS[kind].fullmatch(word):
            ways = "url <URL>, domain <name>, sha256 <64 hex digits> or uid <32 hex digits>"
            raise ConfigError(f"{where or 'rule'}: {value.strip()[:80]!r} is no {kind}; write {ways}")
        if kind == "domain":
            try:
                word = host_of(canonical(f"http://{word}/"))
            except UnusableURLError as error:
                raise ConfigError(f"{where}: {value.strip()[:80]!r} is no domain ({error})") from None
        self.rules[kind].add(from_a_list(word) if kind == "url" else word)

    @staticmethod
    def load(path: str, kind: str | None = None) -> "Exclusions":
        """Rules of a text file, one per line; # begins a comment. With `kind` ("hash" for sha256 or uid) a line is the
        value alone. Raises ConfigError naming file and line."""
        if not storage.exists(path):
            raise ConfigError(f"{path}: no such file; give a text file with one rule per line")
        try:
            text = storage.read_bytes(path).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is no UTF-8 text; give a text file with one rule per line") from None
        found = Exclusions()
        for number, line in enumerate(text.splitlines(), 1):
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            if line:
                first, _, rest = (line if kind is None else f"{kind} {line}").partition(" ")
                found.add(first, rest, f"{path}, line {number}")
        if not len(found):
            raise ConfigError(f"{path}: holds no rule; write one per line")
        return found

    def rule_for(self, row: Mapping[str, Any]) -> str | None:
        """The first rule that the row (COLUMNS) meets, as a line of a file."""
        for kind in ("uid", "sha256"):
            if row.get(kind) in self.rules[kind]:
                return f"{kind} {row[kind]}"
        for name in ("url", "page_url"):
            url = row.get(name)
            if not url:
                continue
            if self.rules["url"]:
                found = url if url in self.rules["url"] else self._addresses().get(address(url))
                if found:
                    return f"url {found}"
            if self.rules["domain"]:
                found = next((d for d in _domains(url) if d in self.rules["domain"]), None)
                if found:
                    return f"domain {found}"
        return None

    def unmet(self, met: Collection[str]) -> tuple[str, ...]:
        """The rules, as lines, that are not among those `met`; two spellings of one URL are met together."""
        places = {address(line[4:]) for line in met if line.startswith("url ")}
        lines = (line for line in self.lines() if line not in met)
        return tuple(line for line in lines if not (line.startswith("url ") and address(line[4:]) in places))

    def _addresses(self) -> dict[str, str]:
        """What the URLs of the rules name -> the first of them; made anew where rules were added."""
        count, found = self._by_address
        if count != len(self.rules["url"]):
            found = {address(url): url for url in sorted(self.rules["url"], reverse=True)}
            self._by_address = (len(self.rules["url"]), found)
        return found

    def rules_for(self, rows: pa.Table) -> list[str | None]:
        columns = {name: rows.column(name).to_pylist() for name in COLUMNS if name in rows.column_names}
        return [self.rule_for(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def exclude(batch: Batch, rules: Exclusions) -> Batch:
    """The stage: what a rule names falls, with the rule as evidence."""
    found = rules.rules_for(batch.rows)
    return batch.drop(["taken_down" if rule else None for rule in found], found)


def _domains(url: str) -> Iterable[str]:
    """a.b.example.org, b.example.org, example.org, org."""
    try:
        host = host_of(canonical(url))
    except UnusableURLError:
        return
    labels = host.split(".")
    for place in range(len(labels)):
        yield ".".join(labels[place:])
