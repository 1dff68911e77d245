"""The pictures of a task, wherever they come from: drawn here, or on disk in any layout that fits.

    open_pictures(task, "test", "/data/benchmarks")

looks into /data/benchmarks/<task.folder> (or what others call it: places.py), tries the task's own layouts in their order and then
the universal ones, joins the labels to the task's classes, and counts. Absent: nothing there; Broken: there, and not whole. Both
are one line.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from evaluation.catalog.benchmarks import Task, card_of, prompts_of
from evaluation.catalog.hashes import list_hash
from evaluation.pictures.annotated import TABLE
from evaluation.pictures.clusters import with_clusters
from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import IMAGE_FOLDER
from evaluation.pictures.joining import joined
from evaluation.pictures.layout import Layout
from evaluation.pictures.parquet import PARQUET
from evaluation.pictures.pictures import Absent, Broken, Pictures, load
from evaluation.pictures.places import deeper, place_of
from evaluation.pictures.table import LAYOUTS, UNIVERSAL

PARTS = ("objectnet", "imagenet", "imagenet-real", "ytbb-robust")
"""Layouts of which a task may want some classes only."""
COOP = "coop"
HUBS = f"the hub's Parquet ({PARQUET.expects}; here or in one folder below)"
ANY_DATASET = f"CLIP_benchmark's test/nshards.txt, or {HUBS}, or {IMAGE_FOLDER.expects}"
"""What is said to be accepted besides a benchmark's own layout."""


def open_pictures(task: Task, split: str, datasets: str | None = None) -> Pictures:
    """The pictures of one split of `task`, labels in the words of its table. Raises Absent or Broken.

    "trainval" is train and val together where there are both, and train alone where there is no val.
    """
    if task.loader:
        named = "train" if split == "trainval" else split
        drawn = load(task.loader, named, task.pictures if split == task.split else None)
        _check_hash(task, named, drawn, datasets)
        return drawn
    folder, layout = find_layout(task, datasets)
    pictures = replace(layout.open(folder, split), name=f"{task.name}/{split}")
    if task.label not in pictures.columns:
        raise Broken(f"{folder}: as {layout.name} it has no '{task.label}', but {', '.join(pictures.columns)}")
    if task.kind == "frames" and "anchor" not in pictures.columns:
        raise Broken(f"{folder}: as {layout.name} it does not say which pictures are anchors, as a task of frames must")
    if task.prompts:
        words, part = prompts_of(task.prompts), layout.name in PARTS
        if pictures.bare_cls and words.cls:
            pictures = replace(pictures, classes=words.cls)
        pictures = joined(pictures, task.label, words.classes, part, needs_every_class(task, split), words.also)
    _count(task, split, pictures)
    _check_hash(task, split, pictures, datasets)
    return with_clusters(pictures, task.cluster)


def open_asked(task: Task, datasets: str | None = None) -> Pictures:
    """The part that is asked; of a task that is stored under corruptions the first that lies there stands for all. Raises Absent
    or Broken."""
    if not task.conditions:
        return open_pictures(task, task.split, datasets)
    folder, _ = find_layout(task, datasets)
    for kind in task.conditions:
        with contextlib.suppress(Absent):
            return open_pictures(task, f"{kind}/1", datasets)
    raise Absent(f"{folder}: holds none of the {len(task.conditions)} corruptions of {task.name}")


def needs_every_class(task: Task, split: str) -> bool:
    """Whether a class without a picture there is a fault. A validation part whose size the card states is drawn as it is:
    of Caltech-101 a tenth of all (VTAB), which leaves some classes out, and a penalty can be chosen without them."""
    return split != "val" or not (task.counts or {}).get("val")


def find_layout(task: Task, datasets: str | None) -> tuple[str, Layout]:
    """The task's folder below `datasets`, and the first layout that fits it.

    Raises Absent where nothing lies there, Broken where something else does, both with what is expected.
    """
    datasets = task.home or datasets
    if datasets is None:
        raise Absent(
            f"{task.name}: its pictures are on disk; set evaluate.datasets to the folder that holds {task.folder}/"
        )
    folder = place_of(task, datasets)
    if not Folder(datasets).names():
        raise Absent(f"{datasets}: no such folder, or nothing in it; {task.name} is expected in {folder}")
    if not Folder(folder).names():
        raise Absent(f"{folder}: no such folder, or nothing in it; {task.name} is expected there")
    layouts = list(_layouts(task))
    for layout in layouts:
        if layout.found(folder):
            _check_needs(task, layout)
            return folder, layout
    below = deeper(folder, layouts)
    if below is not None:
        _check_needs(task, below[1])
        return below
    own = task.home is not None and not set(task.layouts) & set(LAYOUTS)
    expected = (
        f"{IMAGE_FOLDER.expects}, or {TABLE.expects}, or {HUBS}" if own else f"{layouts[0].expects}, or {ANY_DATASET}"
    )
    raise Broken(f"{folder}: holds {task.name} in no layout that is known; expected {expected}")


def _check_needs(task: Task, layout: Layout) -> None:
    """Raises Absent where a card wants a metadata file, and pictures alone were recognised."""
    needs = card_of(task.card).needs
    if needs and layout.name not in (*task.layouts, "webdataset"):
        raise Absent(f"{task.name}: needs {needs}")


def _layouts(task: Task) -> Iterator[Layout]:
    """A variant's own reader in place of the dataset's; then what fits any dataset."""
    if task.variant == COOP:
        yield LAYOUTS[COOP]
    else:
        named = [LAYOUTS.get(f"{name}@{task.variant}") or LAYOUTS.get(name) for name in task.layouts]
        yield from (layout for layout in named if layout is not None)
    yield from (layout for layout in UNIVERSAL if layout.name not in task.layouts)


def _count(task: Task, split: str, pictures: Pictures) -> None:
    """Raises Broken where the split has not as many pictures as the card says: "fog/3" of a task that is stored under corruptions
    as many as its test part, which is corrupted there."""
    sizes: Mapping[str, int | None] = task.counts or {}
    counted = "test" if task.conditions and "/" in split else split
    parts = [sizes.get("train"), sizes.get("val") or 0] if split == "trainval" else [sizes.get(counted)]
    if None in parts or (split == "test" and task.conditions):
        return
    wanted = sum(part for part in parts if part is not None)
    there = sum(word == "yes" for word in pictures.column("anchor")) if task.kind == "frames" else pictures.count
    if there != wanted and task.home is not None:
        raise Broken(
            f"{pictures.name} has {there:,} pictures, its card says {wanted:,}; correct `splits` there, or the folder"
        )
    if there != wanted:
        raise Broken(
            f"{pictures.name} has {there:,} pictures, its benchmark has {wanted:,}; scores would not compare with "
            f"anyone's, so get the right split, or name a variant of the task (`openwit tasks` lists them)"
        )


def _check_hash(task: Task, split: str, pictures: Pictures, datasets: str | None) -> None:
    """Raises Broken where ids or labels are not those whose hash the card states."""
    stated = task.hashes or {}
    if split == "trainval" and stated:
        for part in ("train", "val"):
            if part in stated:
                open_pictures(task, part, datasets)
        return
    if (
        split in stated
        and (found := list_hash(pictures.columns.get("id"), pictures.words(task.label))) != stated[split]
    ):
        raise Broken(
            f"{pictures.name}: its ids and labels have the hash {found[:12]}, its card says {stated[split][:12]}: other pictures, "
            "or other labels, of the same number; get the right ones, or correct `hashes` in the card"
        )
