"""Test pictures of benchmarks as reference sets for curation: what training data must not contain."""

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from evaluation.catalog.benchmarks import Task, find, names
from evaluation.catalog.presence import present
from pipeline.errors import ConfigError
from pipeline.overlap.reference_sets import PICTURES, ReferenceSet

if TYPE_CHECKING:
    from evaluation.pictures.pictures import Pictures


IDENTITIES = "identities.json"
"""Beside overlap lists: set -> the hash of the very pictures, and their order, that its list is of."""


def list_names(task_name: str) -> list[str]:
    """The tasks that look at the same pictures as this one, itself included: an overlap list under any of their names
    is a list of its pictures. One of a card of one's own, which reports call by its name, looks at its own alone."""
    try:
        task = find(task_name)
    except ConfigError:
        return [task_name]
    others = [other for other in names() if other != task.name]
    return [name for name in (task.name, *others) if _list(find(name)) == _list(task)]


def _list(task: Task) -> tuple[str, ...]:
    """What decides which pictures a task looks at, in which order."""
    return (task.loader, task.split) if task.loader else ("", task.split, task.folder, task.variant, *task.layouts)


def there(task_names: Sequence[str], datasets: str | None) -> list[str]:
    """Those of these tasks whose pictures can be had: what is not on disk is not measured either."""
    return [name for name in task_names if present(find(name), datasets)["status"] != "absent"]


def reference_sets(task_names: Sequence[str], datasets: str | None = None) -> list[ReferenceSet]:
    """The test pictures of these tasks: what training data must not contain.

    Tasks that look at the same pictures contribute them once, under the first task's name. Raises DataError for one that
    cannot be opened.
    """
    sets: dict[tuple[str, ...], ReferenceSet] = {}
    for task in map(find, task_names):
        if _list(task) not in sets:
            pictures = _pictures(task.card_name, datasets)
            read = functools.partial(reference_pictures, task.card_name, datasets=datasets)
            sets[_list(task)] = ReferenceSet(task.name, pictures.count, pictures.identity, read)
    return list(sets.values())


def reference_pictures(task_name: str, start: int, stop: int, datasets: str | None = None) -> pa.Table:
    """Test pictures `start` to `stop` of the task, schema PICTURES of pipeline/overlap/reference_sets.py: the stored file
    where there is one, else a PNG."""
    pictures = _pictures(task_name, datasets)
    images = [_file(pictures, index) for index in range(start, stop)]
    return pa.table([range(start, stop), [str(index) for index in range(start, stop)], images], schema=PICTURES)


@functools.lru_cache(maxsize=2)
def _pictures(task_name: str, datasets: str | None) -> "Pictures":
    """Kept, because a large data set is listed once and read in many parts."""
    from evaluation.pictures.open import open_pictures

    task = find(task_name)
    return open_pictures(task, task.split, datasets)


def _file(pictures: "Pictures", index: int) -> bytes:
    if pictures.stored is not None:
        return pictures.stored(index)
    stored = io.BytesIO()
    pictures.read(index).save(stored, "PNG")
    return stored.getvalue()
