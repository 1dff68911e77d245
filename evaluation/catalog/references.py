"""Test pictures of benchmarks as reference sets for curation: what training data must not contain."""

import functools
import io
from collections.abc import Sequence

import pyarrow as pa

from evaluation.catalog.benchmarks import Task, find, names
from pipeline.overlap.reference_sets import PICTURES, ReferenceSet


def list_names(task_name: str) -> list[str]:
    """The tasks that look at the same pictures as this one, itself included: an overlap list under any of their names
    is a list of its pictures."""
    task = find(task_name)
    others = [other for other in names() if other != task.name]
    return [name for name in (task.name, *others) if _list(find(name)) == _list(task)]


def _list(task: Task) -> tuple[str, ...]:
    """What decides which pictures a task looks at."""
    return (task.loader, task.split) if task.loader else ("", task.split, task.folder, task.variant, *task.layouts)


def reference_sets(task_names: Sequence[str]) -> list[ReferenceSet]:
    """The test pictures of these tasks: what training data must not contain.

    Tasks that look at the same pictures contribute them once, under the first task's name.
    """
    from evaluation.pictures.pictures import load

    sets: dict[tuple[str, ...], ReferenceSet] = {}
    for task in map(find, task_names):
        if _list(task) not in sets:
            pictures = load(task.loader, task.split, task.pictures)
            read = functools.partial(reference_pictures, task.name)
            sets[_list(task)] = ReferenceSet(task.name, pictures.count, pictures.identity, read)
    return list(sets.values())


def reference_pictures(task_name: str, start: int, stop: int) -> pa.Table:
    """Test pictures `start` to `stop` of the task as PNG, schema PICTURES of pipeline/overlap/reference_sets.py."""
    from evaluation.pictures.pictures import load

    task = find(task_name)
    pictures = load(task.loader, task.split, task.pictures)
    images = []
    for index in range(start, stop):
        stored = io.BytesIO()
        pictures.read(index).save(stored, "PNG")
        images.append(stored.getvalue())
    return pa.table([range(start, stop), [str(index) for index in range(start, stop)], images], schema=PICTURES)
