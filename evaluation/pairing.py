"""Whether two reports' outcomes are of the same pictures, and if not, which pictures differ."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from evaluation.report import Report

Key = tuple[str, str, str]
KEY = ("task", "protocol", "variant")
NAMED = 5
"""Pictures named where two lists differ."""


def grouped(report: Report) -> dict[Key, pd.DataFrame]:
    """The outcomes of a report by task, protocol and variant, each in the order of its pictures."""
    table = report.outcomes.to_pandas()
    return {
        (str(key[0]), str(key[1]), str(key[2])): rows.sort_values("index", kind="stable").reset_index(drop=True)
        for key, rows in table.groupby(list(KEY), sort=False)
    }


def unequal(
    key: Key,
    ones: Mapping[Key, pd.DataFrame],
    others: Mapping[Key, pd.DataFrame],
    first: Report,
    second: Report,
) -> str | None:
    """Why the two cannot be paired, None where they can."""
    for side, name in ((ones, "first"), (others, "second")):
        if key not in side:
            return f"not in the {name} run"
    one, other = ones[key], others[key]
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} pictures; {_apart(one, other)}"
    moved = np.flatnonzero((one["id"] != other["id"]) | (one["label"] != other["label"]))
    if len(moved):
        names = ", ".join(f"{one['id'][row]} ({one['label'][row]}) and {other['id'][row]} ({other['label'][row]})"
                          for row in moved[:NAMED])  # fmt: skip
        return f"{len(moved)} of {len(one)} pictures differ: {names}"
    lists = [report.details.get(key[0], {}).get(key[1], {}).get("pictures", {}) for report in (first, second)]
    if lists[0].get("identity") != lists[1].get("identity"):
        return "names and labels are equal, the pictures themselves are not (another copy, or rendered by other code)"
    return None


def _apart(one: pd.DataFrame, other: pd.DataFrame) -> str:
    """Names of what only one of the lists has."""
    parts = []
    for name, here, there in (("first", one, other), ("second", other, one)):
        own = sorted(set(here["id"]) - set(there["id"]))
        if own:
            more = ", ..." if len(own) > NAMED else ""
            parts.append(f"only in the {name}: {', '.join(own[:NAMED])}{more}")
    return "; ".join(parts) or "some are listed twice"
