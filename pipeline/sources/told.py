"""What a source's own table or JSON says of a pair and stays with it: its uid as `source_uid`, and its scores.

So subsets of the published dataset apply (`openwit subset --within`, `openwit reshard --subset`), and its scores choose
(`--where "similarity > 0.3"`). The names are those of DataComp, LAION and COYO, further ones the recipe names. Parts without have
no such column.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.sample import CANDIDATE, CARRIED
from pipeline.sources.table_form import SCORE_NAMES, SOURCE_UID, TEXT_NAMES, UID_NAMES
from pipeline.web.body import text_of

_LONGEST_UID = 128
_WORD = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_OURS = ("score_", "location", "embedding", "phash", "thumbnail", "met_", "image")
"""How columns begin that later phases make."""
_TAKEN = {SOURCE_UID, "caption", "key", "status", "queries", "repairs", "format", "sha256", "repeated", "source_rank"}
_TAKEN |= {
    "width",
    "height",
    "original_width",
    "original_height",
    "near_evaluation",
    "brightness",
    "entropy",
    "sharpness",
}


def told_names(more: Sequence[str] = (), key: str = "") -> tuple[str, ...]:
    """The columns of numbers that are carried, in lower case: the known ones and `more`, the recipe's `score_columns`.

    Raises ConfigError for a name that means something else here.
    """
    for name in more:
        word = name.strip().lower()
        if not _WORD.fullmatch(word) or word in {*CANDIDATE.names, *_TAKEN} or word.startswith(_OURS):
            raise ConfigError(
                f"{key}.score_columns: {name!r} cannot be carried; rename the column in the table (letters, digits, _)"
            )
    return tuple(dict.fromkeys([*SCORE_NAMES, *(name.strip().lower() for name in more)]))


def told_of(facts: Mapping[str, Any], scores: Sequence[str]) -> list[Any]:
    """[uid, *scores] of one sample from what its JSON or its row says, by names in lower case."""
    uid = next((facts[name] for name in (SOURCE_UID, *UID_NAMES) if facts.get(name) not in (None, "")), None)
    return [uid, *(facts.get(name) for name in scores)]


def told_columns(told: Sequence[Sequence[Any]], scores: Sequence[str], uids: Sequence[str]) -> dict[str, pa.Array]:
    """Columns of what was said of any of the pairs; a source's uid that is the pair's own is not said again."""
    words = [_uid(more[0]) if more else None for more in told]
    columns = {SOURCE_UID: pa.array([w if w != uid else None for w, uid in zip(words, uids, strict=True)], pa.string())}
    for place, name in enumerate(scores, 1):
        columns[name] = pa.array([number(more[place]) if more else None for more in told], pa.float64())
    return {name: column for name, column in columns.items() if column.null_count < len(column)}


def with_told(rows: pa.Table, told: Sequence[Sequence[Any]], scores: Sequence[str]) -> tuple[pa.Table, dict[str, int]]:
    """The candidates with what was said of any of them, and of how many it was said."""
    columns = told_columns(told, scores, rows.column("uid").to_pylist())
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows, {f"{CARRIED}{name}": len(column) - column.null_count for name, column in columns.items()}


def number(cell: Any) -> float | None:
    """A finite number, or none."""
    try:
        value = float(cell) if isinstance(cell, int | float | str | Decimal) else math.nan
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def words_of(cell: Any) -> str:
    """The text of a cell, blanks made single."""
    if cell is None:
        return ""
    if isinstance(cell, list):
        cell = next((each for each in cell if each), "")
    text = cell if isinstance(cell, str) else text_of(cell) if isinstance(cell, bytes) else str(cell)
    # Half of a surrogate pair is no text; JSON can spell it all the same.
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def captions_in(facts: Mapping[str, Any]) -> list[str]:
    """The words of the first of the usual names that has any, each once: many datasets have a list of captions per picture."""
    for name in (*TEXT_NAMES, "captions"):
        cell = facts.get(name)
        texts = [words_of(each) for each in (cell if isinstance(cell, list) else [cell]) if isinstance(each, str)]
        if any(texts):
            return [text for text in dict.fromkeys(texts) if text]
    return []


def _uid(cell: Any) -> str | None:
    return None if isinstance(cell, dict) else words_of(cell)[:_LONGEST_UID] or None
