"""The pictures of a task, wherever they come from: drawn here, or on disk in any layout that fits.

    open_pictures(task, "test", "/data/benchmarks")

looks into /data/benchmarks/<task.folder>, tries the task's own layouts in their order and then the universal ones, and joins
the labels to the task's classes. Absent: nothing there; Broken: there, and not whole. Both are one line.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from evaluation.pictures.folder import Folder
from evaluation.pictures.joining import joined
from evaluation.pictures.layout import Layout
from evaluation.pictures.pictures import LOADERS, Absent, Pictures, load
from evaluation.pictures.table import LAYOUTS, UNIVERSAL


def open_pictures(task: Any, split: str, datasets: str | None = None) -> Pictures:
    """The pictures of one split of `task`, labels in the words of its table. Raises Absent or Broken."""
    if task.loader in LOADERS:
        return load(task.loader, split, task.pictures if split == task.split else None)
    folder, layout = find_layout(task, datasets)
    pictures = layout.open(folder, split)
    pictures = replace(pictures, name=f"{task.name}/{split}")
    classes = _classes(task)
    return joined(pictures, task.label, classes, layout.name in PARTS) if classes else pictures


PARTS = ("objectnet", "imagenet")
"""Layouts of which a task may want some classes only."""


def find_layout(task: Any, datasets: str | None) -> tuple[str, Layout]:
    """The task's folder below `datasets`, and the first layout that fits it. Raises Absent with what is expected."""
    if datasets is None:
        raise Absent(
            f"{task.name}: needs pictures on disk; set evaluate.datasets to the folder that holds {task.folder}/"
        )
    folder = Folder(datasets).at(task.folder)
    if not Folder(datasets).names():
        raise Absent(f"{datasets}: no such folder, or nothing in it; {task.name} is expected in {folder}")
    if not Folder(folder).names():
        raise Absent(f"{folder}: no such folder, or nothing in it; {task.name} is expected there")
    for layout in _layouts(task):
        if layout.found(folder):
            return folder, layout
    own = "; or ".join(f"{name}: {LAYOUTS[name].expects}" for name in task.layouts[:2])
    raise Absent(
        f"{folder}: holds {task.name} in no layout that can be read; expected {own or 'one of the universal ones'}"
    )


def splits_of(task: Any, datasets: str | None) -> tuple[str, ...]:
    """Which splits can be opened. Raises Absent."""
    if task.loader in LOADERS:
        return ("train", "test")
    folder, layout = find_layout(task, datasets)
    return layout.splits(folder)


def _layouts(task: Any) -> Iterator[Layout]:
    yield from (LAYOUTS[name] for name in task.layouts)
    yield from (layout for layout in UNIVERSAL if layout.name not in task.layouts)


def _classes(task: Any) -> dict[str, tuple[str, ...]]:
    from evaluation.catalog.benchmarks import prompts_of

    return prompts_of(task.prompts).classes if task.prompts else {}
