"""Datasets with a table beside the pictures: GTSRB, FER2013, FairFace, Hateful Memes; and any pictures with a csv of one's own."""

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import SPLITS, by_class
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Absent, Broken, Pictures, identity_of
from pipeline import storage

TRUTH = "GT-final_test.csv"
"""With ClassId; the GT-final_test.test.csv inside the pictures' archive has none."""


KAGGLE_TRUTH = "Test.csv"


def _gtsrb(home: Folder, split: str, train: str) -> Pictures:
    """ppm files; the training part a folder per class (00014 is class 14), the test part a csv with semicolons. Kaggle's copy has
    png files, Train/14/, and a csv with commas and the place of each picture."""
    if train == FINAL and home.has("Train") and not home.has(train):
        train = "Train"
    if split == "train":
        if not home.has(train):
            raise Absent(
                f"{home.path}: has no {train}/; the competition's 26,640 and the final 39,209 pictures are two sets"
            )
        pictures = by_class("gtsrb/train", home, below=train)
        return _numbered(pictures)
    if home.has(KAGGLE_TRUTH):
        rows = home.rows(KAGGLE_TRUTH, ["Path", "ClassId"])
        return of_files(
            "gtsrb/test", home, [row["Path"] for row in rows], {"label": tuple(row["ClassId"] for row in rows)}
        )
    beside = Folder(home.path.rpartition("/")[0])  # where torchvision unpacks it
    places = ((home, f"Final_Test/Images/{TRUTH}"), (home, TRUTH), (beside, TRUTH))
    found = next((place for place in places if place[0].has(place[1])), None)
    if found is None:
        raise Absent(f"{home.path}: has no {TRUTH} of GTSRB_Final_Test_GT.zip, which says the classes")
    rows = found[0].rows(found[1], ["Filename", "ClassId"], ";")
    names = [f"Final_Test/Images/{row['Filename']}" for row in rows]
    return of_files("gtsrb/test", home, names, {"label": tuple(row["ClassId"] for row in rows)})


def _numbered(pictures: Pictures) -> Pictures:
    try:
        labels = tuple(str(int(label)) for label in pictures.column("label"))
    except ValueError as error:
        raise Broken(f"{pictures.name}: a class's folder is no number ({error})") from error
    return replace(pictures, columns={"label": labels})


_GTSRB_HOMES = ("", "GTSRB", "gtsrb/GTSRB")
FINAL = "Final_Training/Images"
_GTSRB_MARK = (("Final_Test/Images",), ("Training",), (FINAL,), (KAGGLE_TRUTH, "Test"))
GTSRB = (
    Reader("gtsrb", _GTSRB_MARK, lambda home, split: _gtsrb(home, split, "Training"), homes=_GTSRB_HOMES),
    Reader(
        "gtsrb@official",
        _GTSRB_MARK,
        lambda home, split: _gtsrb(home, split, FINAL),
        homes=_GTSRB_HOMES,
    ),
)

_USAGE = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
FER_SIDE = 48


def _fer2013(home: Folder, split: str) -> Pictures:
    """A csv of three columns, the pixels of a picture as 2,304 numbers in one of them. The private part is the test part
    (3,589); torchvision takes both for it. Only labels and places of rows are kept; pixels are parsed when they are read."""
    name = "fer2013.csv" if home.has("fer2013.csv") else "icml_face_data.csv"
    path = home.at(name)
    labels: list[str] = []
    offsets, lengths = array("q"), array("i")
    filesystem, file_name = storage.filesystem_of(path)
    with filesystem.open(file_name, "rb") as file:
        head = [column.strip() for column in file.readline().decode("utf-8-sig", "replace").split(",")]
        if set(head) != {"emotion", "pixels", "Usage"}:
            raise Broken(f"{path}: has columns {', '.join(head)[:100]}, not emotion, pixels, Usage")
        emotion, pixels, usage = (head.index(column) for column in ("emotion", "pixels", "Usage"))
        at = file.tell()
        for number, line in enumerate(file, 2):
            fields = line.split(b",")
            if len(fields) == 3 and fields[usage].strip().decode("latin-1") == _USAGE[split]:
                label = fields[emotion].strip().decode("latin-1")
                if label not in tuple("0123456"):
                    raise Broken(f"{path}: line {number} has emotion '{label[:20]}', not 0 to 6")
                labels.append(label)
                offsets.append(at)
                lengths.append(len(line))
            elif len(fields) != 3 and line.strip():
                raise Broken(f"{path}: line {number} has {len(fields)} of 3 columns; get it anew")
            at += len(line)

    def read(index: int) -> Image.Image:
        row = home.read(name, offsets[index], lengths[index]).decode("latin-1").split(",")[pixels]
        try:
            values = np.array(row.strip().strip('"').split(), np.uint8)
            return Image.fromarray(values.reshape(FER_SIDE, FER_SIDE))
        except (ValueError, OverflowError) as error:
            raise Broken(f"{path}: picture {index} of {split} is no {FER_SIDE} x {FER_SIDE} values 0 to 255") from error

    if not labels:
        raise Broken(f"{path}: has no row of usage {_USAGE[split]}")
    identity = identity_of("fer2013", home.fingerprint(name), split)
    return Pictures(f"fer2013/{split}", identity, {"label": tuple(labels)}, read, len(labels))


FER2013 = Reader(
    "fer2013", (("fer2013.csv",), ("icml_face_data.csv",)), _fer2013, ("train", "val", "test"), homes=("", "fer2013")
)


def _fairface(home: Folder, split: str) -> Pictures:
    """file,age,gender,race,service_test; the validation part is the one to test on."""
    name = {"train": "fairface_label_train.csv", "test": "fairface_label_val.csv"}[split]
    rows = home.rows(name, ["file", "age", "gender", "race"])
    tops = ("", *(folder + "/" for folder in home.folders()))
    top = next((each for each in tops if rows and home.has(each + rows[0]["file"])), "")
    columns = {key: tuple(row[key] for row in rows) for key in ("age", "gender", "race")}
    return of_files(f"fairface/{split}", home, [top + row["file"] for row in rows], columns)


FAIRFACE = Reader("fairface", (("fairface_label_val.csv",),), _fairface, homes=("", "fairface"))


def _memes(home: Folder, split: str, test: tuple[str, ...]) -> Pictures:
    """One JSON object a line: img, label, text. The paper tests on dev_seen; test_seen came without labels at first."""
    files = ("train.jsonl",) if split == "train" else test
    name = next((each for each in files if home.has(each)), files[0])
    rows = []
    for number, line in enumerate(home.lines(name), 1):
        try:
            row = json.loads(line)
            rows.append((str(row["img"]), str(int(row["label"])), str(row.get("text", ""))))
        except KeyError as error:
            raise Absent(
                f"{home.at(name)}: line {number} has no {error}; this file was published without labels"
            ) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise Broken(
                f"{home.at(name)}: line {number} is no JSON object with img and label ({str(error)[:60]})"
            ) from error
    columns = {"label": tuple(label for _, label, _ in rows), "text": tuple(text for *_, text in rows)}
    return of_files(f"hateful-memes/{split}", home, [image for image, *_ in rows], columns)


MEMES = tuple(
    Reader(
        name,
        tuple((each,) for each in files),
        lambda home, split, files=files: _memes(home, split, files),  # type: ignore[misc]
        homes=("", "hateful_memes", "data"),
    )
    for name, files in (
        ("hateful-memes", ("dev_seen.jsonl", "dev.jsonl")),
        ("hateful-memes@dev-unseen", ("dev_unseen.jsonl",)),
        ("hateful-memes@test-seen", ("test_seen.jsonl",)),
    )
)

NAME_COLUMNS = ("file", "image", "filename", "path")


def _table(home: Folder, split: str) -> Pictures:
    """test.csv (or labels.csv with a column `split`): file and any columns of labels; several labels are separated by `|`."""
    whole = not home.has(f"{split}.csv")
    name = "labels.csv" if whole else f"{split}.csv"
    rows = home.rows(name, [])
    if not rows:
        raise Broken(f"{home.at(name)}: lists no picture; write a line of column names, then one per picture")
    key = next((each for each in NAME_COLUMNS if each in rows[0]), None)
    if key is None:
        raise Broken(
            f"{home.at(name)}: has no column of files, but {', '.join(rows[0])[:200]}; call it one of {', '.join(NAME_COLUMNS)},"
            " and put commas between columns"
        )
    several = {column for column in rows[0] if any("|" in row[column] for row in rows)}  # whichever split has them
    if whole:
        parts = _parts(home, rows)
        rows = [row for row, part in zip(rows, parts, strict=True) if part == split]
    twice = [file for file, count in Counter(row[key] for row in rows).items() if count > 1]
    if twice:
        raise Broken(f"{home.at(name)}: lists {twice[0]} twice; once, several labels with | between them")
    columns = {
        column: tuple(_several(row[column]) if column in several else row[column] for row in rows)
        for column in (rows[0] if rows else {})
        if column not in (key, "split")
    }
    return of_files(f"table/{split}", home, [row[key] for row in rows], columns)


def _several(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split("|") if word.strip())


def _table_splits(home: Folder) -> tuple[str, ...]:
    files = tuple(split for split in ("train", "val", "test") if home.has(f"{split}.csv"))
    if files or not home.has("labels.csv"):
        return files
    said = set(_parts(home, home.rows("labels.csv", [])))
    return tuple(split for split in ("train", "val", "test") if split in said)


def _parts(home: Folder, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The split of each row, in the words of image_folder.SPLITS and either case; a lone val is the test part, as there."""
    said = [row.get("split", "test").casefold() for row in rows]
    known = {word: split for split, words in SPLITS.items() for word in words}
    strange = next((word for word in said if word not in known), None)
    if strange is not None:
        raise Broken(f"{home.at('labels.csv')}: column split says '{strange[:40]}'; write train, val or test")
    found = [known[word] for word in said]
    return found if "test" in found else ["test" if split == "val" else split for split in found]


TABLE = Reader("table", (("test.csv",), ("labels.csv",), ("train.csv",)), _table, _table_splits)
