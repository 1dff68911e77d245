"""Which benchmarks are on disk: a glance at names of files, and what tells their files from others. Nothing is decoded."""

from typing import Any

from evaluation.catalog.benchmarks import Task, card_of, prompts_of
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


def identity(task: Task, datasets: str | None, seen: dict[str, str | None] | None = None) -> dict[str, Any]:
    """What an evaluation of this task depends on besides the model: its row, the version of its words, and what of it is
    there in which layout, but not where or since when: the files on a local disk by their content (on a URL, whether they are
    there). `seen` is filled with what was found in which folder, for tasks that share one.
    """
    from evaluation.pictures.content import content_of_folder
    from evaluation.pictures.places import place_of

    row = present(task, datasets)
    above = task.home or datasets
    folder = None if task.loader or above is None else place_of(task, above)
    seen = {} if seen is None else seen
    if folder is not None and folder not in seen:
        seen[folder] = content_of_folder(folder)
    return {
        "task": task.name,
        "asked": [task.kind, task.label, task.metric, task.variant, dict(task.counts or {}), task.cluster],
        "prompts": prompts_of(task.prompts).version if task.prompts else None,
        "there": [row["status"], row["layout"], row["splits"], seen[folder] if folder is not None else None],
    }


def way_out(task: Task) -> str:
    """What to do about a benchmark that is absent, to be put after the reason."""
    if task.home is not None:
        return ""
    how = "gets it" if card_of(task.card).can_be_fetched(task.variant) else "says where to get it"
    return f"; `openwit tasks fetch {task.card_name}` {how}"
