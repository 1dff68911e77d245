"""Folders of pictures: train/, val/, test/ with a folder per class, as torchvision's ImageFolder reads them.

A picture's label is the name of its class's folder, however deep below it the file lies. Classes and files are sorted by
name. Folders of a split are called so in either case (Train/). Where there is no test/, or one without a folder of a class, whose
answers nobody has, val/ is the test part, as in ImageNet and the peers, and nothing is left to select on.
"""

from collections.abc import Sequence

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate"),
    "test": ("test", "testing"),
}
"""What folders of a split are called."""
SPELLED = tuple(
    written
    for split in ("test", "val", "train")
    for folder in SPLITS[split]
    for written in (folder, folder.capitalize(), folder.upper())
)
"""The same as they may be written, those to be tested on first."""
VIDEOS = (".avi", ".mp4", ".mkv", ".webm", ".mov")


def split_folders(home: Folder) -> dict[str, str]:
    """split -> its folder; a lone val is the test part, and so is one beside a test part without classes."""
    present = home.folders()
    called = {name.casefold(): name for name in reversed(present)} | {name: name for name in present}
    found = {split: next((called[name] for name in names if name in called), "") for split, names in SPLITS.items()}
    unanswered = bool(found["test"] and found["val"] and home.folders(found["val"]) and not home.folders(found["test"]))
    if found["val"] and (unanswered or not found["test"]):
        found["test"], found["val"] = found["val"], ""
    return {split: folder for split, folder in found.items() if folder}


def by_class(
    name: str, folder: Folder, classes: Sequence[str] | None = None, below: str = "", crop_pixels: int = 0
) -> Pictures:
    """The pictures of the class folders below `below`. Raises Broken for a class without pictures, or of videos."""
    names, labels = [], []
    for label in classes if classes is not None else folder.folders(below):
        inner = f"{below}/{label}" if below else label
        found = folder.pictures(inner)
        if not found:
            raise Broken(
                f"{folder.at(inner)}: holds {_instead(folder, inner)}; {name} needs pictures of every class there"
            )
        names += found
        labels += [label] * len(found)
    if not names:
        raise Broken(f"{folder.at(below)}: has no folder of a class")
    return of_files(name, folder, names, {"label": tuple(labels)}, crop_pixels)


def _instead(folder: Folder, inner: str) -> str:
    if folder.pictures(inner, VIDEOS):
        return "videos (`openwit tasks frames` makes a picture of the middle frame of each)"
    return "no picture"


def _open(home: Folder, split: str) -> Pictures:
    return by_class(f"image-folder/{split}", home, below=split_folders(home)[split])


IMAGE_FOLDER = Reader(
    "image-folder",
    tuple((f"{folder}/*",) for folder in SPELLED),
    _open,
    lambda home: tuple(split_folders(home)),
    said="test/<class>/*.jpg and train/<class>/*.jpg",
)
