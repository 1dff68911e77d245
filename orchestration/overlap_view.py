"""How well copies of evaluation pictures are found, in words: for the terminal and the data card.

`thresholds.parquet` (pipeline/overlap/calibrate.py) says for each set what share of planted copies the half that did not choose
the threshold finds. Where that is low, the training data may hold copies that nobody sees.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import storage
from pipeline.overlap.calibrate import LOW_RECALL

NAME = "thresholds.parquet"
HEADINGS = ("set", "distance", "copies found", "precision", "found worst")


def measured(folder: str) -> list[dict[str, Any]]:
    """The rows of a folder's thresholds; [] where none were measured."""
    path = storage.join(folder, NAME)
    return storage.read_table(path).to_pylist() if storage.exists(path) else []


def low(thresholds: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each set of which less than LOW_RECALL of the planted copies is found."""
    return [
        f"decontaminate: of {row['task']} only {row['recall']:.0%} of planted copies are found, at distance {row['distance']:.0f}:"
        " the training data may hold more of its pictures; a lower curate.decontaminate.precision finds more"
        for row in thresholds
        if row["change"] == "all" and row["recall"] is not None and row["recall"] < LOW_RECALL
    ]


def cells(thresholds: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A line of the card for each set, under HEADINGS."""
    lines: list[tuple[str, ...]] = []
    for row in thresholds:
        if row["change"] != "all" or row["recall"] is None:
            continue
        changes = [
            each for each in thresholds if each["task"] == row["task"] and each["change"] != "all" and each["planted"]
        ]
        worst = sorted(changes, key=lambda each: (each["recall"], each["change"]))[:3]
        lines.append(
            (
                row["task"],
                f"{row['distance']:.0f}",
                f"{row['found']:,} of {row['planted']:,} ({row['recall']:.0%})",
                f"{row['precision']:.1%}",
                ", ".join(f"{each['change']} {each['recall']:.0%}" for each in worst),
            )
        )
    return lines
