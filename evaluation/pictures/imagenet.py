"""ImageNet (ILSVRC 2012) and its kin: V2, A, R, Sketch, C, ReaL, ObjectNet.

The test part is the official validation part: val/ with a folder per synset, or flat with the devkit's ground truth, or as
Kaggle has it (LOC_val_solution.csv beside ILSVRC/, where its archive has it, or within). The devkit's numbers are its own
ILSVRC2012_ID, not ImageNet's usual order: its meta.mat says which synset each is.
"""

import re
from collections.abc import Sequence

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import by_class
from evaluation.pictures.layout import Reader
from evaluation.pictures.matlab import load_mat, scalar, text
from evaluation.pictures.pictures import Absent, Broken, Pictures

SYNSET = re.compile(r"n\d{8}")
DEVKIT = "ILSVRC2012_devkit_t12/data"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
SOLUTION = "LOC_val_solution.csv"
KAGGLE = "ILSVRC/"
"""Where Kaggle's pictures lie, seen from its list of answers."""
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.")


def synsets(folder: Folder, below: str = "") -> list[str]:
    return [name for name in folder.folders(below) if SYNSET.fullmatch(name)]


def _imagenet(home: Folder, split: str) -> Pictures:
    if split == "train":
        return by_class("imagenet/train", home, synsets(home, _train(home)), _train(home))
    names, labels = _validation(home)
    return of_files("imagenet/test", home, names, {"label": tuple(labels)})


def _train(home: Folder) -> str:
    return next(
        (below for below in ("train", "Data/CLS-LOC/train", f"{KAGGLE}Data/CLS-LOC/train") if home.has(below)), "train"
    )


def _val(home: Folder) -> str:
    places = ("val", "validation", "Data/CLS-LOC/val", f"{KAGGLE}Data/CLS-LOC/val")
    return next((below for below in places if home.has(below)), "val")


def _validation(home: Folder) -> tuple[list[str], list[str]]:
    """Files and synsets of the validation part, by the numbers in their names where it is flat."""
    val = _val(home)
    if classes := synsets(home, val):
        names = [name for label in classes for name in home.pictures(f"{val}/{label}")]
        return names, [name.split("/")[-2] for name in names]
    names = home.pictures(val)
    if not names:
        raise Absent(f"{home.path}: has no pictures in {val}/, neither by synset nor ILSVRC2012_val_00000001.JPEG")
    if home.has(SOLUTION):
        rows = home.rows(SOLUTION, ["ImageId", "PredictionString"])
        answers = {row["ImageId"]: row["PredictionString"].split(" ")[0] for row in rows}
        labels = [answers.get(name.rpartition("/")[2].split(".")[0], "") for name in names]
    else:
        order = _devkit(home)
        labels = [order.get(number_of(home, name), "") for name in names]
    if "" in labels:
        raise Broken(f"{home.at(names[labels.index('')])}: the list of answers has none for it")
    return names, labels


def number_of(home: Folder, name: str) -> int:
    """1 to 50,000. Raises Broken for a file that is called otherwise."""
    found = NUMBERED.match(name.rpartition("/")[2])
    if not found:
        raise Broken(f"{home.at(name)}: is not called ILSVRC2012_val_00000001.JPEG or so, so its answer is not known")
    return int(found[1])


def _devkit(home: Folder) -> dict[int, str]:
    """Number of a validation picture -> its synset."""
    place = next((below for below in (f"{DEVKIT}/", "data/", "devkit/data/", "") if home.has(f"{below}{TRUTH}")), None)
    if place is None:
        raise Absent(f"{home.path}: its validation part is flat; needs {DEVKIT}/{TRUTH} and meta.mat, or {SOLUTION}")
    meta = load_mat(home, f"{place}meta.mat", ["synsets"])["synsets"].reshape(-1)
    wnid = {scalar(row["ILSVRC2012_ID"]): text(row["WNID"]) for row in meta}
    answers = home.lines(f"{place}{TRUTH}")
    try:
        return {number: wnid[int(answer)] for number, answer in enumerate(answers, 1)}
    except (KeyError, ValueError) as error:
        raise Broken(f"{home.at(place + TRUTH)}: has an answer that meta.mat does not know ({error})") from error


def _imagenet_splits(home: Folder) -> tuple[str, ...]:
    return tuple(split for split, below in (("train", _train(home)), ("test", _val(home))) if home.has(below))


_HOMES = ("", "imagenet", "images", "ILSVRC", "ILSVRC2012", "imagenet/images")
_VAL_MARKS = (("val/n*",), ("val/ILSVRC2012_val_*",), ("validation/n*",), ("Data/CLS-LOC/val",))
_MARKS = (*_VAL_MARKS, (f"{KAGGLE}Data/CLS-LOC/val", SOLUTION), ("train/n01440764",))
IMAGENET = Reader("imagenet", _MARKS, _imagenet, _imagenet_splits, _HOMES)


def _real(home: Folder, split: str) -> Pictures:
    """Beyer et al. 2020 (arXiv:2006.07159), real.json: classes in ImageNet's order for each of the 50,000 by number.

    Pictures without a label are left out. Labels are numbers, which the task's table of synsets turns into words.
    """
    below = "" if home.has("real.json") else "reassessed-imagenet/"
    answers = home.json(f"{below}real.json")
    if not isinstance(answers, list) or not all(isinstance(each, list) for each in answers):
        raise Broken(f"{home.at(below + 'real.json')}: is no list of lists of classes")
    numbered = sorted((number_of(home, name), name) for name in home.pictures(_val(home)))
    chosen = [
        (name, answers[number - 1]) for number, name in numbered if number <= len(answers) and answers[number - 1]
    ]
    if len(numbered) > len(answers):
        raise Broken(f"{home.at(below + 'real.json')}: has {len(answers):,} answers for {len(numbered):,} pictures")
    labels = tuple(tuple(str(number) for number in answer) for _, answer in chosen)
    return of_files("imagenet-real/test", home, [name for name, _ in chosen], {"label": labels})


REAL = Reader(
    "imagenet-real",
    tuple(
        (*mark, f"{below}real.json")
        for mark in (*_VAL_MARKS, (f"{KAGGLE}Data/CLS-LOC/val",))
        for below in ("", "reassessed-imagenet/")
    ),
    _real,
    ("test",),
    _HOMES,
)


def _v2(home: Folder, split: str) -> Pictures:
    """Folders are called 0 to 999, and stand in that order: by number, not by letter."""
    classes = sorted((name for name in home.folders() if name.isdecimal()), key=int)
    return by_class(f"imagenetv2/{split}", home, classes)


_V2 = "imagenetv2-matched-frequency"
V2 = Reader(
    "imagenetv2",
    (("0", "999"),),
    _v2,
    ("test",),
    ("", f"{_V2}-format-val", _V2, "imagenetv2", f"ImageNetV2-{_V2[11:]}"),
)


def _flat(name: str, homes: Sequence[str]) -> Reader:
    """A folder per synset at the top."""

    def make(home: Folder, split: str) -> Pictures:
        return by_class(f"{name}/{split}", home, synsets(home))

    return Reader(name, (("n*",),), make, ("test",), ("", *homes))


IMAGENET_A = _flat("imagenet-a", ("imagenet-a",))
IMAGENET_R = _flat("imagenet-r", ("imagenet-r",))
SKETCH = _flat("imagenet-sketch", ("sketch", "imagenet-sketch", "images"))


def _objectnet(home: Folder, split: str) -> Pictures:
    """Pictures with the red border of 2 pixels cut away, as the makers ask; all 313 folders (a task asks for 113)."""
    return by_class("objectnet/test", home, crop_pixels=2)


OBJECTNET = Reader(
    "objectnet", (("alarm_clock",), ("air_freshener",)), _objectnet, ("test",), ("", "images", "objectnet-1.0/images")
)

SEVERITIES = ("1", "2", "3", "4", "5")
ARCHIVES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""The published archives, each a group of corruptions; any of them is enough to be recognised."""
KINDS = tuple(kind for kinds in ARCHIVES.values() for kind in kinds)
GROUPS = ("", *(f"{group}/" for group in ARCHIVES))


def _conditions(home: Folder) -> dict[str, str]:
    """Corruption -> its folder, at the top or in the archive's group."""
    found: dict[str, str] = {}
    for group in GROUPS:
        for name in home.folders(group.rstrip("/")):
            if home.has(f"{group}{name}/1"):
                found.setdefault(name, f"{group}{name}")
    return found


def _imagenet_c(home: Folder, split: str) -> Pictures:
    """<corruption>/<severity>/<synset>, 224 pixels already. Split "fog/3" is one of the 95, "fog" its five, "test" all."""
    present = _conditions(home)
    kind, _, wanted = split.partition("/")
    if kind not in (*present, "test") or (wanted and wanted not in SEVERITIES):
        raise Absent(f"{home.path}: has no '{split}'; it has severities 1 to 5 of {', '.join(sorted(present))}")
    runs = [
        (name, severity, f"{present[name]}/{severity}")
        for name in (sorted(present) if kind == "test" else [kind])
        for severity in SEVERITIES
        if wanted in ("", severity)
    ]
    names: list[str] = []
    columns: dict[str, list[str]] = {"label": [], "corruption": [], "severity": []}
    for name, severity, below in runs:
        for label in synsets(home, below):
            found = home.pictures(f"{below}/{label}")
            names += found
            for column, value in zip(columns, (label, name, severity), strict=True):
                columns[column] += [value] * len(found)
    return of_files(f"imagenet-c/{split}", home, names, {key: tuple(values) for key, values in columns.items()})


IMAGENET_C = Reader(
    "imagenet-c",
    tuple((f"{below}{kind}/1",) for group, kinds in ARCHIVES.items() for kind in kinds for below in ("", f"{group}/")),
    _imagenet_c,
    lambda home: ("test", *_conditions(home)),
    ("", "imagenet-c", "ImageNet-C"),
    "<corruption>/<severity>/<synset>, e.g. fog/1 or weather/fog/1 (or in imagenet-c/), of any of its corruptions",
)
