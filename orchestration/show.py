"""What a person sees: tables on stdout for plans, scores and drop reasons; with --json the same values as JSON.

Values come in, text goes out: nothing here reads a file or decides anything.
"""

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Protocol

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

LOG_WIDTH = 1000
"""Columns used where stdout is no terminal: a log or a pipe wants one line per row, however long."""

BAR_WIDTH = 24


class PlannedStep(Protocol):
    """What `flow.plan` says of one step."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def done(self) -> bool: ...
    @property
    def action(self) -> str: ...
    @property
    def why(self) -> str: ...


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # the command line decides how a command ends, not rich


def console() -> Console:
    """stdout as it is now (tests and --json replace it)."""
    terminal = sys.stdout.isatty()
    return _Console(
        file=sys.stdout, width=None if terminal else LOG_WIDTH, soft_wrap=not terminal, highlight=False, markup=False
    )


def plain(value: Any) -> Any:
    """Dataclasses, models, tuples and paths as JSON values; a float that is no number becomes null."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(below) for below in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    if isinstance(value, PurePath):
        return str(value)
    return value


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(plain(value), indent=1, ensure_ascii=False), flush=True)


@contextmanager
def stdout_kept_clean(on: bool) -> Iterator[None]:
    """While `on`, whatever libraries and child processes print on stdout goes to stderr."""
    if not on:
        yield
        return
    sys.stdout.flush()
    kept_file, kept_descriptor = sys.stdout, os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stdout = kept_file
        os.dup2(kept_descriptor, 1)
        os.close(kept_descriptor)


def plan_table(steps: Sequence[PlannedStep]) -> None:
    """Every step: whether it is up to date, what a run would do, and why."""
    table = Table("step", "state", "would", "why", "folder", box=None, pad_edge=False, header_style="bold")
    for step in steps:
        state = Text("up to date", "green") if step.done else Text("to do", "yellow")
        folder = Text(step.path.rstrip("/").rsplit("/", 1)[-1], "dim", overflow="fold")
        table.add_row(step.name, state, step.action, step.why, folder)
    console().print(table)


class StepState(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class RunResult(Protocol):
    """What `flow.run` gives back."""

    @property
    def recipe(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def steps(self) -> Sequence[StepState]: ...
    @property
    def manifest_id(self) -> str | None: ...
    @property
    def dataset(self) -> str | None: ...
    @property
    def checkpoint_id(self) -> str | None: ...
    @property
    def scores(self) -> Sequence[Any]: ...
    @property
    def absent(self) -> Sequence[Mapping[str, str]]: ...
    @property
    def notes(self) -> Sequence[Any]: ...
    @property
    def report(self) -> str | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def peak_memory_bytes(self) -> int | None: ...
    @property
    def tracked(self) -> Any: ...


def run_result(result: RunResult, root: str) -> None:
    """What became of each step, the scores, and where to look next."""
    headings = ("step", "state", "seconds", "folder")
    rows(headings, [(s.name, s.state, round(s.seconds, 1), s.path.rpartition("/")[2]) for s in result.steps])
    if result.scores:
        print()
        score_table(result.scores)
    if result.absent:
        print("\nnot measured:")
        not_measured(result.absent)
    if result.notes:
        print("\nabout these figures:")
        rows(("task", "protocol", "note"), [(n.task, n.protocol, n.says) for n in result.notes])
    told: dict[str, Any] = {"dataset": result.dataset, "manifest id": result.manifest_id}
    told |= {"checkpoint id": result.checkpoint_id, "report": result.report}
    if result.peak_memory_bytes:
        told["peak memory"] = bytes_text(result.peak_memory_bytes)
    told |= {"took": f"{result.seconds:.0f} s", "dashboard": shlex.join(["openwit", "ui", "--root", root])}
    print()
    facts({name: value for name, value in told.items() if value is not None})
    if result.tracked is not None and result.tracked.waiting:
        command = shlex.join(["openwit", "deliver", f"{root.rstrip('/')}/runs/{result.run_id}"])
        print(
            f"\n{result.tracked.waiting} events wait for MLflow ({result.tracked.problem}); hand them over with: {command}"
        )
    if all(step.state == "up to date" for step in result.steps):
        print("\nevery step is up to date")


def not_measured(absent: Sequence[Mapping[str, str]]) -> None:
    """What could not be measured: a line per reason, with the tasks and the protocols that it holds for."""
    from orchestration.not_measured import lines

    rows(("task", "protocol", "why", "reason"), lines(absent))


def score_table(scores: Iterable[Any]) -> None:
    """Scores of `evaluation.report` (or their JSON), each with its 95 % interval and the samples behind it."""
    table = Table("task", "protocol", "metric", "variant", box=None, pad_edge=False, header_style="bold")
    for heading in ("value", "95 % interval", "n"):
        table.add_column(heading, justify="right")
    for score in map(plain, scores):
        names = [score[key] for key in ("task", "protocol", "metric", "variant")]
        interval = f"{score['low']:.4f} - {score['high']:.4f}"
        table.add_row(*names, f"{score['value']:.4f}", interval, f"{score['n']:,}")
    console().print(table)


def funnel_table(
    counts: Mapping[str, Mapping[str, Mapping[str, Any]]], planted: Mapping[str, Any] | None = None
) -> None:
    """Rows in, kept and dropped by reason for each phase and unit; with the planted numbers beside them if known."""
    table = Table("phase", "unit", "what", box=None, pad_edge=False, header_style="bold")
    table.add_column("rows", justify="right")
    table.add_column("of those in")
    if planted is not None:
        table.add_column("planted", justify="right")
        table.add_column("")
    for phase, units in counts.items():
        for unit, fate in units.items():
            rows_in = int(fate["rows_in"])
            wanted = (planted or {}).get(phase, {}).get(unit, {})
            lines = [("in", rows_in, "dim"), ("kept", int(fate["kept"]), "green")]
            for reason in sorted({*fate["reasons"], *wanted}, key=lambda r: (-fate["reasons"].get(r, 0), r)):
                lines.append((reason, int(fate["reasons"].get(reason, 0)), "red"))
            for place, (what, rows, style) in enumerate(lines):
                row: list[Any] = [phase if place == 0 else "", unit if place == 0 else "", what, f"{rows:,}"]
                row.append(Text(bar(rows, rows_in), style))
                if planted is not None:
                    row += _planted_cells(wanted.get(what), rows) if place >= 2 else ["", ""]
                table.add_row(*row)
    console().print(table)


def _planted_cells(planted: int | None, counted: int) -> list[Any]:
    if planted is None:
        return ["", ""]
    return [f"{planted:,}", Text("equal", "green") if planted == counted else Text("DIFFERENT", "bold red")]


def bar(part: int, whole: int) -> str:
    """A bar of eighths of a character; anything above zero can be seen."""
    eighths = round(8 * BAR_WIDTH * part / whole) if whole else 0
    eighths = max(eighths, 1) if part else 0
    full, rest = divmod(eighths, 8)
    return "█" * full + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]


def rows(headings: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """A plain table; numbers are right-aligned."""
    lines = [list(line) for line in lines]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(headings):
        numeric = bool(lines) and all(isinstance(line[place], int | float | None) for line in lines)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        table.add_row(
            *("" if cell is None else f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in line)
        )
    console().print(table)


def facts(pairs: Mapping[str, Any]) -> None:
    """name  value, one per line; on a terminal a long value goes on below where it began."""
    width = max(map(len, pairs), default=0)
    if sys.stdout.isatty():
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=width, no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in pairs.items():
            table.add_row(name, Text(str(value)))
        console().print(table)
        return
    for name, value in pairs.items():
        console().print(Text(f"{name:<{width}}  ", "bold").append(str(value), "not bold"))


def bytes_text(count: int) -> str:
    """1.5 MiB"""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{int(size)} B" if unit == "B" else f"{size:.1f} {unit}"
