"""Folded: the pairs that a dataset has under another name. Deduplication lets one pair of each cluster stand for all, so whoever
asks for one of the others to be taken down means the one that is there, its picture and the words that it took over.

    folded/00000.parquet ...   rows of schema FOLDED beside the manifest: uid, URL, page and hash of a pair that fell, and the uid
                               of the pair that stands for it

A pair that fell for a near caption alone has left nothing behind where captions were compared everywhere.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.datasets.exclusion import Exclusions
from pipeline.datasets.packing import uid_numbers
from pipeline.datasets.subset import UID, hex_of
from pipeline.execution.ledger import PhaseResult

FOLDER = "folded"
ROWS_PER_FILE = 1_000_000
FOLDED = pa.schema(
    [(name, pa.string()) for name in ("uid", "url", "page_url", "sha256", "reason", "stands_for_it")],
)
SAME_PICTURE = ("duplicate_bytes", "near_duplicate", "near_embedding")
_FACTS = ["uid", "page_url", "sha256"]


def write_folded(phases: Sequence[PhaseResult], config: Mapping[str, Any], folder: str) -> None:
    """What the phase `deduplicate` folded, if it is among `phases`; `config` are the manifest's sections.

    Memory: 32 bytes for each pair that fell, and a file's rows. The rows before are read once per million that fell.
    """
    place = next((number for number, phase in enumerate(phases) if phase.name == "deduplicate"), 0)
    if not place:
        return
    before, after = phases[place - 1], phases[place]
    scope = config.get("deduplicate", {}).get("captions", {}).get("scope")
    reasons = (*SAME_PICTURE, "near_caption") if scope == "same_picture" else SAME_PICTURE
    fallen, keepers = _stand_ins([_keepers(rows) for rows in _dropped(after, reasons)])
    waiting: list[pa.Table] = []
    number = 0
    for rows in itertools.chain(_dropped(after, reasons), [None]):
        waiting += [rows] if rows is not None else []
        many = sum(map(len, waiting))
        if many and (rows is None or many >= ROWS_PER_FILE):
            told = _told(pa.concat_tables(waiting), before, fallen, keepers)
            storage.write_table(storage.join(folder, FOLDER, f"{number:05d}.parquet"), told)
            waiting, number = [], number + 1


def folded(folder: str) -> Iterator[pa.Table]:
    """The tables beside the dataset at `folder`; none where nothing was folded, or by an openwit that did not tell."""
    for name in storage.list_names(storage.join(folder, FOLDER)):
        if name.endswith(".parquet"):
            yield storage.read_table(storage.join(folder, FOLDER, name), FOLDED.names)


def folded_rules(folder: str, rules: Exclusions) -> dict[str, dict[str, str]]:
    """uid of a pair that may be in the dataset -> {rule: URL of the pair that it stands for and that meets the rule}."""
    found: dict[str, dict[str, str]] = {}
    for table in folded(folder):
        met = pa.array(rules.rules_for(table), pa.string())
        for row in table.append_column("rule", met).filter(pc.is_valid(met)).to_pylist():
            found.setdefault(row["stands_for_it"], {}).setdefault(row["rule"], row["url"])
    return found


def stands_for_others(folder: str, uids: Collection[str]) -> set[str]:
    """Which of these pairs stand for others, too."""
    found: set[str] = set()
    for table in folded(folder):
        found |= set(uids).intersection(table.column("stands_for_it").to_pylist())
    return found


def carry_on(folder: str, out: str, without: Collection[str] = ()) -> None:
    """The same for a dataset made from that at `folder`, but for the pairs `without`."""
    gone = pa.array(list(without), pa.string())
    for number, table in enumerate(folded(folder)):
        rest = table.filter(pc.invert(pc.is_in(table.column("stands_for_it"), value_set=gone)))
        storage.write_table(storage.join(out, FOLDER, f"{number:05d}.parquet"), rest)


def _dropped(phase: PhaseResult, reasons: Sequence[str]) -> Iterator[pa.Table]:
    for file in (each for each in phase.dropped if each.rows):
        rows = storage.read_table(storage.join(phase.folder, file.path), ["uid", "url", "reason", "evidence"])
        named = pc.match_substring_regex(rows.column("evidence"), "^of [0-9a-f]{32}:")
        yield rows.filter(pc.and_(named, pc.is_in(rows.column("reason"), value_set=pa.array(reasons, pa.string()))))


def _keepers(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The uids (n,) of pairs that fell, and of those that they fell for: evidence begins with "of <uid>:"."""
    named = pc.utf8_slice_codeunits(rows.column("evidence"), 3, 35)
    return _ids(rows.column("uid")), _ids(named)


def _ids(uids: pa.ChunkedArray) -> np.ndarray:
    return np.ascontiguousarray(uid_numbers(uids)).view(UID).reshape(-1)


def _stand_ins(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Uids that fell, sorted, and for each the one that stands for it: who fell for one that fell later follows it."""
    fallen = np.concatenate([np.empty(0, UID), *(a for a, _ in found)])
    keepers = np.concatenate([np.empty(0, UID), *(b for _, b in found)])
    order = np.argsort(fallen)
    fallen, keepers = fallen[order], keepers[order]
    for _ in range(len(fallen)):
        place = np.minimum(np.searchsorted(fallen, keepers), len(fallen) - 1)
        onward = fallen[place] == keepers
        if not onward.any():
            break
        keepers[onward] = keepers[place[onward]]
    return fallen, keepers


def _told(rows: pa.Table, before: PhaseResult, fallen: np.ndarray, keepers: np.ndarray) -> pa.Table:
    """Rows of schema FOLDED, sorted; pages and hashes are in the rows that deduplication was given."""
    uids = rows.column("uid")
    stand_ins = hex_of(keepers[np.searchsorted(fallen, _ids(uids))])
    wanted = uids.combine_chunks()
    facts = [pa.schema([(name, pa.string()) for name in _FACTS]).empty_table()]
    for file in before.kept:
        some = storage.read_table(storage.join(before.folder, file.path), _FACTS)
        facts.append(some.filter(pc.is_in(some.column("uid"), value_set=wanted)).cast(facts[0].schema))
    told = rows.drop_columns(["evidence"]).append_column("stands_for_it", pa.array(stand_ins, pa.string()))
    joined = told.join(pa.concat_tables(facts), keys="uid", join_type="left outer")
    return joined.select(FOLDED.names).cast(FOLDED).sort_by([("stands_for_it", "ascending"), ("uid", "ascending")])
