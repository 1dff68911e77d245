"""Datasets whose splits are lists of files: Food-101, DTD, Oxford Pets, FGVC Aircraft, SUN397, Birdsnap, UCF101.

Each function says how its lists name a picture and its class. What is listed must be there; Birdsnap alone is a list of
addresses of which fewer are left each year, so what is missing of it is left out and counted.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import VIDEOS
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Absent, Broken, Pictures


def _of(name: str, home: Folder, pairs: Sequence[tuple[str, str]]) -> Pictures:
    """Pictures from (file, label)."""
    return of_files(name, home, [file for file, _ in pairs], {"label": tuple(label for _, label in pairs)})


def _fields(home: Folder, name: str, count: int, separator: str | None = None) -> list[list[str]]:
    """The fields of every line. Raises Broken for a line with fewer than `count`."""
    rows = [line.split(separator, count - 1) for line in home.lines(name)]
    for number, row in enumerate(rows, 1):
        if len(row) < count:
            raise Broken(f"{home.at(name)}: entry {number} has {len(row)} of {count} fields; get it anew")
    return rows


def _food101(home: Folder, split: str) -> Pictures:
    """meta/train.txt: apple_pie/1005649"""
    entries = home.lines(f"meta/{split}.txt")
    return _of(f"food101/{split}", home, [(f"images/{each}.jpg", each.split("/")[0]) for each in entries])


FOOD101 = Reader("food101", (("meta/test.txt", "images"),), _food101, homes=("", "food-101"))


def _dtd(home: Folder, split: str) -> Pictures:
    """Partition 1 of ten, labels/train1.txt: banded/banded_0002.jpg"""
    entries = home.lines(f"labels/{split}1.txt")
    return _of(f"dtd/{split}", home, [(f"images/{each}", each.split("/")[0]) for each in entries])


DTD = Reader("dtd", (("labels/test1.txt", "images"),), _dtd, ("train", "val", "test"), homes=("", "dtd", "dtd/dtd"))


def _pets(home: Folder, split: str) -> Pictures:
    """annotations/trainval.txt: Abyssinian_100 1 1 1. The class is the name without its number."""
    part = {"train": "trainval", "test": "test"}[split]
    # A well-known archive puts each of its two folders into one of the same name.
    lists, top = (f"{each}/{each}" if home.has(f"{each}/{each}") else each for each in ("annotations", "images"))
    entries = [row[0] for row in _fields(home, f"{lists}/{part}.txt", 4) if not row[0].startswith("#")]
    return _of(f"pets/{split}", home, [(f"{top}/{each}.jpg", each.rpartition("_")[0]) for each in entries])


PETS = Reader(
    "pets",
    (("annotations/test.txt", "images"), ("annotations/annotations/test.txt", "images")),
    _pets,
    homes=("", "oxford-iiit-pet"),
    said="annotations/test.txt and images (or in oxford-iiit-pet/)",
)


def _aircraft(home: Folder, split: str) -> Pictures:
    """images_variant_train.txt: 1025794 707-320. A variant's name may hold spaces and slashes (F/A-18)."""
    rows = _fields(home, f"images_variant_{split}.txt", 2, " ")
    return _of(f"fgvc-aircraft/{split}", home, [(f"images/{number}.jpg", label.strip()) for number, label in rows])


AIRCRAFT = Reader(
    "fgvc-aircraft",
    (("images_variant_test.txt", "images"),),
    _aircraft,
    ("train", "val", "trainval", "test"),
    homes=("", "data", "fgvc-aircraft-2013b/data"),
)


def _sun397(home: Folder, split: str) -> Pictures:
    """Partition 1 of ten, Training_01.txt: /a/abbey/sun_aaalbzqrimafwbiv.jpg. The class is the folder as ClassName.txt has it."""
    name = {"train": "Training_01.txt", "test": "Testing_01.txt"}[split]
    lists = next((below for below in ("", "Partitions/", "SUN397/", "partitions/") if home.has(below + name)), None)
    if lists is None:
        raise Absent(f"{home.path}: has no {name} of Partitions.zip, which says what the {split} part is")
    top = "SUN397" if home.has("SUN397/a") else ""
    entries = home.lines(lists + name)
    return _of(f"sun397/{split}", home, [(f"{top}{each}".lstrip("/"), each.rpartition("/")[0]) for each in entries])


def _sun397_all(home: Folder, split: str) -> Pictures:
    """All 108,754, as DataComp scores them."""
    below = "SUN397" if home.has("SUN397/a") else ""
    names = [name for name in home.pictures(below) if name.rpartition("/")[2].startswith("sun_")]
    cut = len(below)
    return _of(f"sun397/{split}", home, [(name, "/" + name[cut:].strip("/").rpartition("/")[0]) for name in names])


_SUN_MARKS = (("SUN397/a",), ("a", "ClassName.txt"))
SUN397 = Reader("sun397", _SUN_MARKS, _sun397)
SUN397_ALL = Reader("sun397@datacomp", _SUN_MARKS, _sun397_all, ("test",))


def _birdsnap(home: Folder, split: str) -> Pictures:
    """images.txt (path in column `path`) less test_images.txt; the class is the species' folder."""
    tested = {row["path"] for row in home.rows("test_images.txt", ["path"], "\t")}
    listed = [row["path"] for row in home.rows("images.txt", ["path", "species_id"], "\t")]
    chosen = [path for path in listed if (path in tested) == (split == "test")]
    top = next(
        (below for below in ("download/images", "images", "") if home.has(f"{below}/{_top(listed)}".lstrip("/"))), ""
    )
    there = set(home.pictures(top))
    pairs = [(f"{top}/{path}".lstrip("/"), path.split("/")[0]) for path in chosen]
    kept = [pair for pair in pairs if pair[0] in there]
    lacking = {"not_downloaded": len(pairs) - len(kept)} if len(kept) < len(pairs) else {}
    return replace(_of(f"birdsnap/{split}", home, kept), lacking=lacking)


def _top(listed: Sequence[str]) -> str:
    return listed[0].split("/")[0] if listed else "*"


BIRDSNAP = Reader("birdsnap", (("images.txt", "test_images.txt"),), _birdsnap, homes=("", "birdsnap"))

_LISTS = ("ucfTrainTestlist/", "", "annotations/")
_FRAMES = ("UCF-101-midframes", "midframes", "frames", "UCF-101", "")


def _ucf101(home: Folder, split: str) -> Pictures:
    """Split 1, testlist01.txt: ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi; the middle frame of each as a picture.

    CoOp's frames lie in Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg.
    """
    name = {"train": "trainlist01.txt", "test": "testlist01.txt"}[split]
    lists = next(below for below in _LISTS if home.has(f"{below}testlist01.txt"))
    entries = [line.split()[0] for line in home.lines(lists + name)]
    top = next((below for below in _FRAMES if home.has(below) and home.pictures(below)), None)
    if top is None:
        if home.pictures("", VIDEOS):
            raise Absent(
                f"{home.path}: has videos and no frames of them; `openwit tasks frames {home.path}` makes the middle one of each"
            )
        raise Absent(
            f"{home.path}: has no pictures; the middle frame of each video is expected as UCF-101-midframes/<class>/<video>.jpg"
        )
    present = frozenset(home.pictures(top))
    pairs = []
    for entry in entries:
        place = _ucf_place(present, top, entry)
        if place is None:
            raise Broken(
                f"{home.at(top)}: has no frame of {entry}, which {lists}{name} lists; `openwit tasks frames` makes it, or says "
                "what is wrong with the video"
            )
        pairs.append((place, entry.split("/")[0]))
    return _of(f"ucf101/{split}", home, pairs)


def _ucf_place(present: frozenset[str], top: str, entry: str) -> str | None:
    """The file of a listed video's frame, in either writing of its class."""
    label, _, video = entry.removesuffix(".avi").partition("/")
    spaced = "_".join(re.findall("[A-Z][^A-Z]*", label))
    for folder in (spaced, label):
        for suffix in (".jpg", ".png"):
            name = f"{top}/{folder}/{video}{suffix}".lstrip("/")
            if name in present:
                return name
    return None


UCF101 = Reader("ucf101", tuple((f"{below}testlist01.txt",) for below in _LISTS), _ucf101, homes=("", "ucf101"))
