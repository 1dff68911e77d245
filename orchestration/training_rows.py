"""The rows that a training writes, as people read them: the line of progress, and the numbers that go into a tracker.

A row of steps.jsonl (training/run.py) has fixed fields, `metrics` (what the objective measures: accuracy, bits per pixel,
...) and `measured` (what the clock decides: MFU, waiting for data, memory). Here they lie side by side.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.watching.record import whole_rows

EVALUATIONS = "evaluations.jsonl"
"""In a training's folder, a line per snapshot that was measured (orchestration/beside.py)."""

_NEVER = ("step", "total_steps", "seconds_left")
_BOTH_WAYS = ("accuracy_image_to_text", "accuracy_text_to_image")
"""Pairs are looked for from both sides; their mean is what is shown as accuracy."""
_SHOWN = (
    ("accuracy", "accuracy {:.0%}"),
    ("bits_per_pixel", "{:.3f} bits per pixel"),
    ("learning_rate", "lr {:.1e}"),
    ("samples_per_second", "{:,.0f} samples/s"),
    ("mfu", "MFU {:.0%}"),
    ("data_wait_share", "data wait {:.0%}"),
)


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """All finite numbers of a row of steps.jsonl by name, but for where it stands."""
    whole = flattened_row(row)
    return {name: value for name, value in whole.items() if name not in _NEVER and -1e300 < value < 1e300}


def flattened_row(row: Mapping[str, Any]) -> dict[str, float]:
    """The row with `metrics` and `measured` beside its fixed fields; what is null is left out."""
    fixed = {name: value for name, value in row.items() if isinstance(value, int | float)}
    found = {**row.get("measured", {}), **row.get("metrics", {}), **fixed}
    ways = [found[name] for name in _BOTH_WAYS if name in found]
    return found | ({"accuracy": sum(ways) / len(ways)} if ways else {})


def train_note(row: Mapping[str, Any]) -> str:
    """`loss 2.310, accuracy 45%, lr 5.0e-04, 610 samples/s, MFU 31%, data wait 2%`."""
    whole = flattened_row(row)
    said = [words.format(whole[name]) for name, words in _SHOWN if name in whole]
    return ", ".join([f"loss {whole['loss']:.3f}", *said])


def evaluation_note(row: Mapping[str, Any]) -> str:
    """`at step 500: digits zero_shot 91.2%, scenes zero_shot 80.0%`, or why there is nothing."""
    if "error" in row:
        return f"step {row['step']:,} could not be measured: {row['error']}"
    said = []
    for name, value in row["scores"].items():
        task, protocol, metric, _ = name.split("/")
        if not metric.startswith("recall"):
            said.append(f"{task} {protocol} {value:.1%}")
    return f"at step {row['step']:,}: {', '.join(said)}"


def read_evaluations(folder: str) -> list[dict[str, Any]]:
    """The lines of folder/evaluations.jsonl that are whole, by step; [] where there is no such file."""
    path = Path(folder) / EVALUATIONS
    if not path.exists():
        return []
    return [row for _, row in whole_rows(path.read_bytes())[0]]
