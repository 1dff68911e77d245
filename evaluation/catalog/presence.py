"""Which benchmarks are on disk: a glance at names and sizes of files, nothing is opened or decoded."""

import os
from typing import Any

from evaluation.catalog.benchmarks import Task, card_of, prompts_of
from pipeline import storage
from pipeline.errors import DataError


def present(task: Task, datasets: str | None) -> dict[str, Any]:
    """{task, variant, status, pictures, folder, layout, splits, reason}: `status` is "drawn" for what openwit makes itself,
    "present" where a layout is found in the task's folder below `datasets`, "broken" where files are there in no layout that
    can be read, else "absent"; with the reason and the way out. evaluation/parts.py opens the lists, too.

    `pictures` is the number of the test part as the card has it (None where copies differ).
    """
    row: dict[str, Any] = {
        "task": task.name,
        "variant": task.variant,
        "status": "absent",
        "pictures": task.pictures,
        "folder": None,
        "layout": None,
        "splits": [],
        "reason": "",
    }
    if task.loader:
        return row | {"status": "drawn", "splits": [split for split in (task.train, task.val, task.split) if split]}
    from evaluation.pictures.open import find_layout
    from evaluation.pictures.pictures import Absent

    try:
        folder, layout = find_layout(task, datasets)
        splits = layout.splits(folder)
    except Absent as error:
        return row | {"reason": f"{error}{way_out(task)}"}
    except DataError as error:
        return row | {"status": "broken", "reason": str(error)}
    return row | {"status": "present", "folder": folder, "layout": layout.name, "splits": list(splits)}


def identity(task: Task, datasets: str | None) -> dict[str, Any]:
    """What an evaluation of this task depends on besides the model: its row, the version of its words, and what of it is
    there in which layout, but not where: names and sizes of the files on a local disk. A file that was replaced by one of the same
    name and size is not noticed.
    """
    row = present(task, datasets)
    above = task.home or datasets
    folder = None if task.loader or above is None else storage.join(above, task.folder)
    return {
        "task": task.name,
        "asked": [task.kind, task.label, task.metric, task.variant, dict(task.counts or {})],
        "prompts": prompts_of(task.prompts).version if task.prompts else None,
        "there": [row["status"], row["layout"], row["splits"], _files(folder)],
    }


def _files(folder: str | None) -> str | None:
    """A hash of the names and sizes of all files below a local folder; None where there is none."""
    if folder is None or not storage.is_local(folder):
        return None
    root, found = folder.removeprefix("file://"), []
    for here, _, names in os.walk(root):
        for name in names:
            path = os.path.join(here, name)
            size = os.lstat(path).st_size if os.path.lexists(path) else None
            found.append([os.path.relpath(path, root).encode(errors="surrogateescape").hex(), size])
    return storage.sha256(storage.canonical_json(sorted(found))) if found else None


def way_out(task: Task) -> str:
    """What to do about a benchmark that is absent, to be put after the reason."""
    if task.home is not None:
        return ""
    card = card_of(task.card)
    return f"; `openwit tasks fetch {task.card}`" + (
        " gets it" if card.hub and not card.hub.gated else " says where to get it"
    )
