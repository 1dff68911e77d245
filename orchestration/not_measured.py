"""What an evaluation could not measure, each reason once: rows of a report are one per task and protocol, and many are alike."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

MOST_NAMED = 4


class Lack(NamedTuple):
    """A reason, and the tasks and protocols ("" where it is all of a task's) that it holds for."""

    tasks: tuple[str, ...]
    protocols: tuple[str, ...]
    status: str
    reason: str

    @property
    def said(self) -> str:
        """The first tasks, and how many more."""
        more = f" and {len(self.tasks) - MOST_NAMED:,} more" if len(self.tasks) > MOST_NAMED else ""
        return ", ".join(self.tasks[:MOST_NAMED]) + more


def once_each(absent: Iterable[Mapping[str, str]]) -> list[Lack]:
    """Rows {task, protocol, status, reason} by their reason, in the order of their first task."""
    protocols: dict[tuple[str, str, str], list[str]] = {}
    for row in absent:
        protocols.setdefault((row["task"], row["status"], row["reason"]), []).append(row["protocol"])
    tasks: dict[tuple[tuple[str, ...], str, str], list[str]] = {}
    for (task, status, reason), names in protocols.items():
        tasks.setdefault((tuple(dict.fromkeys(names)), status, reason), []).append(task)
    return [Lack(tuple(names), *key) for key, names in tasks.items()]


def lines(absent: Sequence[Mapping[str, str]]) -> list[tuple[str, str, str, str]]:
    """The same as lines of a table: task, protocol, why, reason."""
    return [(each.said, ", ".join(each.protocols), each.status, each.reason) for each in once_each(absent)]
