"""The average over a suite of tasks, which always says over which.

An average over fewer tasks than were asked for is another number: it is labelled by a hash of the tasks in it, and names
those that lack. Its interval joins those of its tasks, which are about different pictures and so independent (MOVER,
intervals.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.statistics.intervals import Interval, joined
from pipeline import storage


@dataclass(frozen=True)
class SuiteAverage:
    """`covers` is a hash of the tasks averaged; `missing` those of the suite that are not among them."""

    suite: str
    value: float
    low: float
    high: float
    tasks: tuple[str, ...]
    missing: tuple[str, ...]
    covers: str

    @property
    def label(self) -> str:
        """As "clip-27, 25 of 27 tasks (1f3870be)", and "clip-27" alone where none lacks."""
        asked = len(self.tasks) + len(self.missing)
        return f"{self.suite}, {len(self.tasks)} of {asked} tasks ({self.covers})" if self.missing else self.suite


def covers(tasks: Sequence[str]) -> str:
    """Eight letters that stand for a set of tasks."""
    return storage.sha256(storage.canonical_json(sorted(tasks)))[:8]


def suite_average(
    suite: str, asked: Sequence[str], measured: Mapping[str, Interval], lists: Mapping[str, str] | None = None
) -> SuiteAverage | None:
    """The mean over those of the `asked` tasks that were measured; None where none was. `lists` says which list of pictures a task
    is about; what it does not name has one of its own."""
    tasks = tuple(sorted(set(asked) & set(measured)))
    if not tasks:
        return None
    mean = joined([measured[task] for task in tasks], [(lists or {}).get(task, task) for task in tasks])
    missing = tuple(sorted(set(asked) - set(tasks)))
    return SuiteAverage(suite, *mean, tasks, missing, covers(tasks))
