"""What of a benchmark is there: decided here alone, so that an evaluation and the plan of one say the same.

Lists are opened, and nothing is decoded: a picture that is cut off shows only in an evaluation.
"""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from evaluation.catalog.benchmarks import Task
from evaluation.catalog.presence import way_out
from evaluation.pictures.open import find_layout, open_asked, open_pictures
from evaluation.pictures.pictures import Absent, Broken, Pictures
from pipeline import storage
from pipeline.errors import DataError

Status = Literal["absent", "broken", "unfit", "failed"]


@dataclass(frozen=True)
class Parts:
    """The lists of a task: what is asked, what may be learned from and chosen by (None where there is none, or where it was
    not wanted), and why a part that its card names could not be opened."""

    task: Task
    test: Pictures
    train: Pictures | None
    val: Pictures | None
    unread: Mapping[str, DataError]


def settled(task: Task, datasets: str | None) -> Task:
    """A task of one's own card with the parts that lie on disk: its card need not name them. One that it names stays, there
    or not."""
    if task.home is None:
        return task
    try:
        folder, layout = find_layout(task, datasets)
        there = layout.splits(folder)
    except DataError:  # `look` says it
        return task
    return replace(task, train="train" if "train" in there else task.train, val="val" if "val" in there else task.val)


def look(task: Task, datasets: str | None, learns: bool) -> Parts:
    """The lists of a task that is `settled`; those to learn from where something `learns`.

    Raises Absent or Broken of what is asked; the other parts may lack.
    """
    try:
        test = open_asked(task, datasets)
    except Absent as error:
        raise Absent(f"{error}{way_out(task)}") from error
    found: dict[str, Pictures] = {}
    unread: dict[str, DataError] = {}
    for split in [split for split in (task.train, task.val) if split and learns]:
        try:
            found[split] = open_pictures(task, split, datasets)
        except DataError as error:  # what needs no training pictures goes on
            unread[split] = error
    return Parts(task, test, found.get("train"), found.get("val"), unread)


def unforeseen(error: Exception) -> str:
    """An error that nothing here knows, in a line, with the place that raised it: one task's, so the others go on."""
    *_, last = traceback.extract_tb(error.__traceback__)
    what = " ".join(str(error).split())
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return f"out of memory ({what[:150]}); lower evaluate.batch_size, or set evaluate.features.precision=float16"
    return f"{type(error).__name__}: {what} ({'/'.join(Path(last.filename).parts[-3:])}, line {last.lineno}); please report it"


def status_of(error: DataError) -> Status:
    """In one word: whether it is not there, or there and not usable."""
    return "absent" if isinstance(error, Absent) else "broken"


def nothing_to_learn(parts: Parts) -> tuple[Status, str] | None:
    """Why nothing can be learned, in a word and in a line; None where there is a part to learn from.

    A validation part that is broken is one, too: without it another penalty would be chosen, and nobody would know.
    """
    task = parts.task
    for split in ("train", "val"):
        error = parts.unread.get(split)
        if error is not None and (split == "train" or isinstance(error, Broken)):
            return status_of(error), str(error)
    if task.train is not None:
        return None
    if task.home is None:
        return "unfit", "no training split"
    place = storage.join(task.home, task.folder)
    return "absent", f"no training split: {place} has none; pictures to learn from go into train/, or train.csv"
