"""The published figures: one CSV per table, a row per model (by open_clip's name), a column per score (by our name).

Carried over by infra/published/carry.py; `sources.json` says where each table is from and under which protocol it was made.
"""

import csv
import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Published:
    """One figure, a fraction of 1; `rounding` is half its last digit."""

    score: str
    model: str
    table: str
    value: float
    rounding: float


@functools.cache
def sources() -> dict[str, dict[str, Any]]:
    """table -> title, source, protocol, decimals, `variants`, under which we measure as it does, and `averages`, score -> the suite
    whose mean its figure is; the tables in the order in which they are shown."""
    found: dict[str, dict[str, Any]] = storage.read_json(str(HERE / "sources.json"))
    return found


@functools.cache
def tables() -> Mapping[str, Mapping[str, tuple[Published, ...]]]:
    """model -> score -> its figures, at most one per table."""
    found: dict[str, dict[str, tuple[Published, ...]]] = {}
    for table, about in sources().items():
        with (HERE / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                model = row.pop("model")
                scores = found.setdefault(model, {})
                for score, text in row.items():
                    if text:
                        one = Published(score, model, table, float(text), 0.5 * 10 ** -about["decimals"])
                        scores[score] = (*scores.get(score, ()), one)
    return found


def published(model: str) -> Mapping[str, tuple[Published, ...]]:
    """score -> its published figures of this model. Raises ConfigError naming the nearest known one."""
    known = tables()
    if model in known:
        return known[model]
    near = difflib.get_close_matches(model, known, n=1, cutoff=0.3)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"evaluate.published: no figures of a model called '{model}'{hint} (open_clip's name and tag)")
