"""Progress of a run on the screen: bars with rate and time left on a terminal, a plain line now and then in a log.

Everything goes to stderr, so stdout holds results only. `what` may carry a note behind ": " ("train: loss 2.31"): the
part before it names the bar, the note is shown beside it. Where the ledger tells what items came to (`note`), the bar also
shows what stays and what falls, and steps leave a line each (orchestration/live.py).
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichProgress,
)
from rich.text import Text

from orchestration.live import Live

Progress = Callable[[int, int, str], None]
SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress_shown(silent: bool = False) -> Iterator[Progress]:
    """Yields the (done, total, what) callback that fits where stderr goes; `silent` shows nothing at all."""
    if silent:
        yield lambda done, total, what: None
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield Bars(bars)
    else:
        yield Lines()


def rate_text(per_second: float) -> str:
    """12.3/s, or 4.1/min where a second is too short for one."""
    if per_second >= 1:
        return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.1f}/s"
    return f"{per_second * 60:.1f}/min"


def time_text(seconds: float) -> str:
    """1:05:09 or 5:09."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def name_and_note(what: str) -> tuple[str, str]:
    name, _, note = what.partition(": ")
    return name, note


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(rate_text(speed) if speed else "", style="progress.data.speed")


def _bars(console: Console | None = None) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description:<14}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console or Console(stderr=True),
    )


def say(progress: Progress, line: str | None) -> None:
    """A whole line above the bars or in the log, where progress is shown at all."""
    write = getattr(progress, "say", None)
    if line and write is not None:
        write(line)


class Bars:
    """One rich bar per name, in order of appearance."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._live = Live()
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        name, note = name_and_note(what)
        if done < self._done.get(name, 0):  # other work of the same name begins
            self._bars.reset(self._tasks[name], total=total or None, completed=done)
            self._live.again(name)
        self._done[name] = done
        note = note or self._live.words(name)
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total or None, completed=done, note=note)
        else:
            self._bars.update(self._tasks[name], completed=done, total=total or None, note=note)

    def note(self, what: str, fates: Mapping[str, Mapping[str, Any]], telemetry: Mapping[str, int]) -> None:
        for line in self._live.note(name_and_note(what)[0], fates, telemetry):
            self.say(line)

    def met(self, what: str, counts: Mapping[str, int]) -> None:
        for line in self._live.met(what, counts):
            self.say(line)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass
class _Started:
    done: int
    at: float
    last_line: float
    last_done: int
    complete_at: int | None = None
    """The total that was told as reached."""


class Lines:
    """One line per name every few seconds, and one when it is complete."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, write: Callable[[str], None] | None = None) -> None:
        self._clock = clock
        self._write = write or (lambda line: print(line, file=sys.stderr, flush=True))
        self._started: dict[str, _Started] = {}
        self._live = Live()

    def note(self, what: str, fates: Mapping[str, Mapping[str, Any]], telemetry: Mapping[str, int]) -> None:
        for line in self._live.note(name_and_note(what)[0], fates, telemetry):
            self._write(line)

    def met(self, what: str, counts: Mapping[str, int]) -> None:
        for line in self._live.met(what, counts):
            self._write(line)

    def say(self, line: str) -> None:
        self._write(line)

    def __call__(self, done: int, total: int, what: str) -> None:
        name, note = name_and_note(what)
        now = self._clock()
        started = self._started.get(name)
        first = started is None or done < started.last_done  # fewer than before: other work of the same name begins
        if started is None or first:
            if started is not None:
                self._live.again(name)
            started = self._started[name] = _Started(done, now, now, done)
        started.last_done = done
        if total and done >= total:
            if started.complete_at == total:
                return
            started.complete_at = total
        elif first or now - started.last_line < SECONDS_BETWEEN_LINES:
            return
        started.last_line = now
        self._write(self._line(name, note, done, total, started, now))

    def _line(self, name: str, note: str, done: int, total: int, started: _Started, now: float) -> str:
        share = f"/{total} ({done / total:.0%})" if total else ""
        seconds = now - started.at
        # Work found finished from an earlier run was not done at any rate.
        rate = (done - started.done) / seconds if seconds > 0 else 0.0
        parts = [f"{name}: {done}{share}"]
        if rate > 0:
            parts.append(rate_text(rate))
            parts.append(f"{time_text((total - done) / rate)} left" if total > done else f"in {time_text(seconds)}")
        note = note or self._live.words(name)
        return ", ".join([*parts, note] if note else parts)
