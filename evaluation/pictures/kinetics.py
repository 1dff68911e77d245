"""Kinetics-700: the middle frame of every clip that could be had, by the official lists or by a folder per class.

    annotations/val.csv           label,youtube_id,time_start,time_end,split
    val/0wR5jVB-WPk_000417_000427.png            flat, as CVDF's archives unpack (its .mp4, .mkv or .webm beside it)
    val/abseiling/0wR5jVB-WPk_000417_000427.png  in folders, as torchvision sorts them; then no list is needed

With a list it says the classes, and which clips are asked for: folders do not count. Clips vanish from the web each year, so
what is missing is no mistake: `Pictures.lacking` has how many, by reason. The part to test on is the validation part, whose
labels have always been public.
"""

import re
from collections import Counter

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import SUFFIXES, Folder
from evaluation.pictures.image_folder import SPLITS, VIDEOS, split_folders
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import EMPTY_CLASS, Absent, Broken, Pictures

LISTS = {"train": ("train.csv",), "test": ("val.csv", "validate.csv", "validation.csv")}
BELOW = ("annotations/", "", "kinetics700_2020/", "kinetics700/")
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
CLIP = re.compile(r"(.+)_(\d+)_(\d+)")
"""A file's stem: id, first and last second, which scripts write with six digits or as they are."""
NOT_DOWNLOADED, WITHOUT_FRAME = "not_downloaded", "without_frame"


def _kinetics(home: Folder, split: str) -> Pictures:
    listed = _list_of(home, split)
    return _by_folders(home, split) if listed is None else _by_list(home, split, listed)


def _list_of(home: Folder, split: str) -> str | None:
    return next((below + name for below in BELOW for name in LISTS[split] if home.has(below + name)), None)


def _by_list(home: Folder, split: str, listed: str) -> Pictures:
    names = SPLITS["val" if split == "test" else "train"]
    folders = home.folders()
    below = next((name for name in names if name in folders), "")
    frames, videos = _stems(home, below, SUFFIXES), _stems(home, below, VIDEOS)
    _need_frames(home, below, bool(frames), bool(videos))
    found: dict[str, str] = {}
    lacking: Counter[str] = Counter()
    for number, row in enumerate(home.rows(listed, COLUMNS), 2):
        try:
            clip = row["youtube_id"], int(float(row["time_start"])), int(float(row["time_end"]))
        except (ValueError, OverflowError) as error:
            raise Broken(f"{home.at(listed)}: entry {number} has a time that is no number ({error})") from error
        name = frames.get(clip) or frames.get(row["youtube_id"])
        if name is None:
            there = clip in videos or row["youtube_id"] in videos
            lacking[WITHOUT_FRAME if there else NOT_DOWNLOADED] += 1
        elif found.setdefault(name, row["label"]) != row["label"]:
            raise Broken(f"{home.at(listed)}: gives {name} two classes, '{found[name]}' and '{row['label']}'")
    if not found:
        raise Broken(f"{home.at(below)}: has no clip of {listed}; are they those of another Kinetics?")
    return of_files(
        f"kinetics700/{split}",
        home,
        list(found),
        {"label": tuple(found.values())},
        lacking=dict(sorted(lacking.items())),
    )


Clip = str | tuple[str, int, int]


def _stems(home: Folder, below: str, suffixes: tuple[str, ...]) -> dict[Clip, str]:
    """Clip, and whole stem -> file; the first of several by name."""
    found: dict[Clip, str] = {}
    for name in home.pictures(below, suffixes):
        stem = name.rpartition("/")[2].rpartition(".")[0]
        found.setdefault(stem, name)
        if parts := CLIP.fullmatch(stem):
            found.setdefault((parts[1], int(parts[2]), int(parts[3])), name)
    return found


def _by_folders(home: Folder, split: str) -> Pictures:
    """train/ and val/ with a folder per class; a class of which nothing is left is counted."""
    folder = split_folders(home)[split]
    frames = home.pictures(folder)
    videos = home.pictures(folder, VIDEOS)
    _need_frames(home, folder, bool(frames), bool(videos))
    names = [name for name in frames if name.count("/") > folder.count("/") + 1]
    labels = [name[len(folder) + 1 :].split("/")[0] for name in names]
    stems = {name.rpartition(".")[0] for name in frames}
    lacking = {
        EMPTY_CLASS: len(set(home.folders(folder)) - set(labels)),
        WITHOUT_FRAME: sum(name.rpartition(".")[0] not in stems for name in videos),
    }
    if not names:
        raise Broken(
            f"{home.at(folder)}: has clips and no folder of a class; without annotations/val.csv nothing says theirs"
        )
    order = sorted(range(len(names)), key=lambda at: (labels[at], names[at]))
    columns = {"label": tuple(labels[at] for at in order)}
    some = {reason: count for reason, count in lacking.items() if count}
    return of_files(f"kinetics700/{split}", home, [names[at] for at in order], columns, lacking=some)


def _need_frames(home: Folder, below: str, frames: bool, videos: bool) -> None:
    if videos and not frames:
        raise Absent(
            f"{home.at(below)}: has videos and no frames of them; `openwit tasks frames {home.path}` makes the middle one of each"
        )
    if not frames:
        raise Absent(f"{home.at(below)}: has neither clips nor frames of them; the lists alone have no pictures")


def _splits(home: Folder) -> tuple[str, ...]:
    folders = split_folders(home)
    return tuple(split for split in ("train", "test") if _list_of(home, split) or split in folders)


KINETICS = Reader(
    "kinetics700",
    (("val/abseiling",), ("test/abseiling",), *((below + name,) for below in BELOW for name in LISTS["test"])),
    _kinetics,
    _splits,
    said="val/<class>/*.png, or annotations/val.csv beside clips named <youtube_id>_<start>_<end>",
)
