"""Where below the user's folder a benchmark lies: not everybody calls its folder as its card does, or unpacks it at the top.

Looked for are, in this order, the card's own name; names under which torchvision, CLIP_benchmark and the archives unpack it; any
folder of the same letters and digits (Food-101, food_101); the hub's cache. Below that, where no layout fits at the top, the
folders one to three deeper: archives hold a folder, and unpackers add one.
"""

import re
from collections.abc import Iterator, Sequence

from evaluation.catalog.benchmarks import Task, card_of
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Layout
from evaluation.pictures.pictures import Broken
from pipeline import storage

DEEPEST = 3
FEW_FOLDERS = 12
"""A folder with more is not looked into: they are classes."""
NAMED = 4

ALSO = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-batches-bin"),
    "cifar100": ("cifar-100-python", "cifar-100-binary"),
    "cars": ("stanford_cars", "StanfordCars", "car_data"),
    "fgvc-aircraft": ("fgvc-aircraft-2013b",),
    "voc2007": ("VOCdevkit", "wds_voc2007_multilabel"),
    "dtd": ("dtd-r1.0.1",),
    "pets": ("oxford-iiit-pet", "oxford_pets"),
    "caltech101": ("caltech-101", "101_ObjectCategories"),
    "flowers102": ("oxford_flowers", "wds_vtab-flowers"),
    "stl10": ("stl10_binary",),
    "eurosat": ("EuroSAT_RGB", "2750"),
    "resisc45": ("NWPU-RESISC45",),
    "kitti-distance": ("Kitti", "kitti", "wds_vtab-kitti_closest_vehicle_distance"),
    "clevr-counts": ("clevr", "CLEVR_v1.0", "wds_vtab-clevr_count_all"),
    "ucf101": ("UCF-101-midframes",),
    "imagenet": ("ILSVRC2012", "ILSVRC", "imagenet-1k", "imagenet2012", "wds_imagenet1k"),
    "imagenetv2": ("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency"),
    "imagenet-sketch": ("sketch",),
    "objectnet": ("objectnet-1.0",),
    "coco": ("mscoco", "coco2014", "mscoco2014", "wds_mscoco_captions"),
    "cue-conflict": ("style-transfer-preprocessed-512",),
}
"""The card's folder -> what others call it, where that is more than another spelling."""


def place_of(task: Task, datasets: str) -> str:
    """The folder of a task below `datasets`: one by another name where there is none, or nothing in it, by the card's."""
    home, own = Folder(datasets), Folder(datasets).at(task.folder)
    if task.home is not None or Folder(own).names():
        return own
    return next((home.at(name) for name in _others(task, home) if Folder(home.at(name)).names()), own)


def _others(task: Task, home: Folder) -> Iterator[str]:
    there = home.names()
    yield from (name for name in ALSO.get(task.folder, ()) if name in there)
    yield from (name for name in there if _plain(name) == _plain(task.folder))
    hub = card_of(task.card).hub
    cache = f"datasets--{hub.repository.replace('/', '--')}/snapshots" if hub else ""
    if hub and cache.partition("/")[0] in there:
        commits = home.names(cache)
        yield from (f"{cache}/{commit}" for commit in sorted(commits, key=lambda each: each != hub.revision))


def _plain(name: str) -> str:
    """Letters and digits alone, without the words that CLIP_benchmark puts before its folders."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^wds_(vtab-)?", "", name.casefold()))


def deeper(folder: str, layouts: Sequence[Layout]) -> tuple[str, Layout] | None:
    """The folder below `folder` that one of the layouts fits, best first, and that layout; the nearest, None where there is none.

    Raises Broken where one fits several that lie equally deep: which one is meant is not known.
    """
    if not storage.is_local(folder):
        return None
    level = [folder]
    for _ in range(DEEPEST):
        level = [Folder(above).at(name) for above in level for name in _few(above)]
        for layout in layouts:
            found = [each for each in level if layout.found(each)]
            if len(found) > 1:
                names = ", ".join(each[len(folder) + 1 :] for each in found[:NAMED])
                raise Broken(f"{folder}: holds it in {names}; leave the one that is meant, and move the others away")
            if found:
                return found[0], layout
    return None


def _few(folder: str) -> list[str]:
    names = Folder(folder).folders()
    return names if len(names) <= FEW_FOLDERS else []
