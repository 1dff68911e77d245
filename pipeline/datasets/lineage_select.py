"""What selection knew of a kept pair: the words of the queries it matched, their counts, and how the coin fell."""

from collections.abc import Mapping
from typing import Any

from pipeline import storage
from pipeline.execution.ledger import PhaseResult
from pipeline.selection.balance import hash01


def balance_facts(phase: PhaseResult, config: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """From the list of queries that the phase left; {} where it left none."""
    path = storage.join(phase.folder, "queries.parquet")
    matched = [int(number) for number in row.get("queries") or ()]
    if not storage.exists(path) or "t" not in phase.extra:
        return {}
    curve = storage.read_table(path)
    words, before, chances = (curve.column(name) for name in ("query", "before", "keep_probability"))
    falls = 1.0
    for number in matched:
        falls *= 1.0 - chances[number].as_py()
    seed = int(config.get("select", {}).get("balance", {}).get("seed", 0))
    return {
        "queries": [{"query": words[n].as_py(), "pairs_before": before[n].as_py()} for n in matched],
        "balance_t": int(phase.extra["t"]),
        "keep_probability": round(1.0 - falls, 6),
        "coin": round(float(hash01(seed, row["uid"])), 6),
    }
