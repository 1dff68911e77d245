"""Datasets that are a folder per class: Caltech-101, EuroSAT, RESISC45 (no official split); Country211, Rendered SST2.

Where a split is a share of TFDS's order or a draw of ours, split_rules.py says how. A variant of a task has its own reader,
"eurosat@clip-paper".
"""

import functools
from collections.abc import Callable, Sequence

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import by_class
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures
from evaluation.pictures.split_rules import cut, drawn, shares, tfds_order

Rule = Callable[[Sequence[str], Sequence[str]], dict[str, list[int]]]
"""(names, labels) of all pictures -> places per split."""


def _ruled(name: str, rule: Rule, home: Folder, split: str) -> Pictures:
    names, labels = [], []
    for label in home.folders():
        found = home.pictures(label)
        if not found:
            raise Broken(f"{home.at(label)}: holds no picture; {name} has some of every class")
        names += found
        labels += [label] * len(found)
    places = sorted(rule(names, labels)[split])
    columns = {"label": tuple(labels[at] for at in places)}
    return of_files(f"{name}/{split}", home, [names[at] for at in places], columns)


def _all(names: Sequence[str], labels: Sequence[str]) -> dict[str, list[int]]:
    return {"test": list(range(len(names)))}


def _tfds(sizes: Callable[[int], dict[str, int]], names: Sequence[str], labels: Sequence[str]) -> dict[str, list[int]]:
    """TFDS's key of a picture is its class and its file: AnnualCrop_AnnualCrop_1.jpg."""
    keys = [f"{label}_{name.rpartition('/')[2]}" for name, label in zip(names, labels, strict=True)]
    return cut(tfds_order(keys), sizes(len(names)))


def _vtab(count: int) -> dict[str, int]:
    return dict(zip(("train", "val", "test"), shares(count, (60, 20, 20)), strict=True))


def _meru(count: int) -> dict[str, int]:
    return {"train": 5000, "val": 5000, "test": 5000}


def _readers(
    name: str, mark: str, homes: tuple[str, ...], rules: dict[str, tuple[tuple[str, ...], Rule]]
) -> tuple[Reader, ...]:
    """One reader per variant; the first is the task's own."""
    return tuple(
        Reader(f"{name}@{variant}" if at else name, ((mark,),), functools.partial(_ruled, name, rule), splits, homes)
        for at, (variant, (splits, rule)) in enumerate(rules.items())
    )


_THREE = ("train", "val", "test")
EUROSAT = _readers(
    "eurosat",
    "AnnualCrop",
    ("", "2750", "EuroSAT_RGB", "EuroSAT/2750", "eurosat/2750"),
    {
        "vtab": (_THREE, functools.partial(_tfds, _vtab)),
        "clip-paper": (("train", "test"), lambda names, labels: drawn(names, labels, {"train": 1000, "test": 500})),
        "meru": (_THREE, functools.partial(_tfds, _meru)),
        "official": (("test",), _all),
    },
)
RESISC45 = _readers(
    "resisc45",
    "airplane",
    ("", "NWPU-RESISC45"),
    {
        "vtab": (_THREE, functools.partial(_tfds, _vtab)),
        "clip-paper": (_THREE, lambda names, labels: drawn(names, labels, {"train": 70, "val": 70, "test": 560})),
        "official": (("test",), _all),
    },
)

BACKGROUND = "BACKGROUND_Google"
EACH = 30


def _caltech(val_percent: int, names: Sequence[str], labels: Sequence[str]) -> dict[str, list[int]]:
    """30 of each class to learn from, the rest to test; of the background 29, which leaves TFDS's 6,085 (its draw of 30 met
    a file there that is no picture). TFDS's own draw depends on the order in which a disk lists files; this one is ours."""
    train: list[int] = []
    for label in dict.fromkeys(labels):
        inside = [at for at, each in enumerate(labels) if each == label]
        count = EACH - (label == BACKGROUND)
        part = drawn([names[at] for at in inside], [label] * len(inside), {"train": count})["train"]
        train += [inside[at] for at in part]
    keys = [names[at] for at in train]
    kept = len(train) - val_percent * len(train) // 100 - bool(val_percent * len(train) % 100)
    order = [train[at] for at in tfds_order(keys)]
    chosen = set(train)
    rest = [at for at in range(len(names)) if at not in chosen]
    return {"train": order[:kept], "val": order[kept:], "test": rest}


def _caltech_paper(names: Sequence[str], labels: Sequence[str]) -> dict[str, list[int]]:
    return _caltech(0, names, labels)


def _no_background(names: Sequence[str], labels: Sequence[str]) -> dict[str, list[int]]:
    return {"test": [at for at, label in enumerate(labels) if label != BACKGROUND]}


CALTECH101 = _readers(
    "caltech101",
    "accordion",
    ("", "101_ObjectCategories", "caltech101/101_ObjectCategories", "caltech-101/101_ObjectCategories"),
    {
        "vtab": (_THREE, functools.partial(_caltech, 10)),
        "clip-paper": (("train", "test"), _caltech_paper),
        "official": (("test",), _all),
        "torchvision": (("test",), _no_background),
    },
)


def _folders(name: str, folders: dict[str, str], classes: tuple[str, ...] | None, home: Folder, split: str) -> Pictures:
    return by_class(f"{name}/{split}", home, classes, folders[split])


_VALID = {"train": "train", "val": "valid", "test": "test"}
COUNTRY211 = Reader(
    "country211",
    (("valid/AD", "test/AD"),),
    functools.partial(_folders, "country211", _VALID, None),
    _THREE,
    homes=("", "country211"),
)
SST2 = Reader(
    "rendered-sst2",
    (("valid/negative", "test/negative"),),
    functools.partial(_folders, "rendered-sst2", _VALID, ("negative", "positive")),
    _THREE,
    homes=("", "rendered-sst2"),
)
