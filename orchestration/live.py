"""The live view: what has stayed and what fell, while curation runs, in a terminal and in a log file.

    note      after each finished work item: the bar or line of its pass shows "kept 81%, 404 9%, dns 3%"
    advice    one line when a kind of failure becomes too frequent (orchestration/advice.py), once per pass and kind
    ended     one line when a step is done, so that the lines together are the funnel so far

All of it comes from the ledger's records, so it costs nothing and a resumed run shows the whole. With --json nothing is shown.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestration.advice import MET, advice_for, classes
from orchestration.step import StepRecord

SHOWN = 4
LINE = 160
"""Characters of a step's line at most."""


@dataclass
class Tally:
    """Sums over the items of one pass."""

    rows_in: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    telemetry: Counter[str] = field(default_factory=Counter)
    advised: set[str] = field(default_factory=set)

    def add(self, fate: Mapping[str, Any], telemetry: Mapping[str, int]) -> None:
        self.rows_in += int(fate["rows_in"])
        self.kept += int(fate["kept"])
        self.reasons.update(fate["reasons"])
        self.telemetry.update(telemetry)


class Live:
    """The tallies of a run. `note` takes what an item came to and returns the pass's words; lines of advice come once."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def note(self, what: str, fates: Mapping[str, Mapping[str, Any]], telemetry: Mapping[str, int]) -> list[str]:
        """Count one finished item; returns new lines of advice. Rows that are counted by pages and pairs count as pages."""
        tally = self._tallies.setdefault(what, Tally())
        fate = fates.get("pages") or fates.get("pairs")
        if fate is None:
            return []
        tally.add(fate, telemetry)
        return self._advice(what, tally, tally.rows_in, tally.telemetry)

    def met(self, what: str, counts: Mapping[str, int]) -> list[str]:
        """Take what a fetch met so far, all in all, before its rows are settled; returns new lines of advice."""
        tally = self._tallies.setdefault(what, Tally())
        words = {f"{MET}{word}": n for word, n in counts.items() if word != "bytes"}
        return self._advice(what, tally, sum(words.values()), words)

    def _advice(self, what: str, tally: Tally, rows: int, telemetry: Mapping[str, int]) -> list[str]:
        found = []
        for line in advice_for(what, rows, tally.reasons, telemetry):
            kind = line.partition("% ")[2]
            if kind not in tally.advised:
                tally.advised.add(kind)
                found.append(f"advice: {line}")
        return found

    def words(self, what: str) -> str:
        """`kept 81%, 404 9%, dns 3%` of a pass in which something fell; "" before."""
        tally = self._tallies.get(what)
        if tally is None or not tally.reasons or not tally.rows_in:
            return ""
        shares = Counter(classes(tally.reasons, tally.telemetry)).most_common(SHOWN)
        told = [f"{word} {n / tally.rows_in:.1%}" for word, n in sorted(shares, key=lambda item: (-item[1], item[0]))]
        return ", ".join([f"kept {tally.kept / tally.rows_in:.0%}", *told])

    def again(self, what: str) -> None:
        """Other work of the same name begins."""
        self._tallies.pop(what, None)


def ended(record: StepRecord) -> str | None:
    """`crawl: 315 pages, 3,912 pairs; dropped: robots_txt 12, ...` for a step of curation, else None."""
    reasons = record.facts.get("reasons")
    if not isinstance(reasons, Mapping):
        return None
    units = [name[: -len("_kept")] for name in record.facts if name.endswith("_kept")]
    kept = [f"{record.facts[f'{unit}_kept']:,} {unit}" for unit in units]
    gone = Counter[str]()
    for counts in reasons.values():
        gone.update(counts)
    line = f"{record.name}: {', '.join(kept)}"
    if not gone:
        return f"{line}; nothing dropped"
    ordered = sorted(gone.items(), key=lambda item: (-item[1], item[0]))
    line, rest = f"{line}; dropped: ", len(ordered)
    for word, n in ordered:
        piece = f"{word} {n:,}"
        if len(line) + len(piece) > LINE and rest < len(ordered):
            return f"{line.rstrip(', ')}, and {rest} reasons more"
        line, rest = f"{line}{piece}, ", rest - 1
    return line.rstrip(", ")
