"""Datasets whose label follows from what is in the scene: VOC 2007 (objects), KITTI (nearest vehicle), CLEVR (how many)."""

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from evaluation.pictures.clusters import CLUSTER
from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Absent, Broken, Pictures
from evaluation.pictures.split_rules import drawn, shares, tfds_order
from pipeline import storage


def _voc2007(home: Folder, split: str) -> Pictures:
    """ImageSets/Main/test.txt: 000001; Annotations/000001.xml: <object><name>dog</name>...<difficult>0</difficult>.

    `label` holds the classes with an object that is not difficult, `difficult` those of which all objects are: VOC's own
    scoring leaves a picture out of such a class (0 in its dog_test.txt), and so do the metrics of protocols/truth.py.
    """
    ids = home.lines(f"ImageSets/Main/{split}.txt")
    easy, hard = [], []
    for each in ids:
        here, doubtful = _objects(home, f"Annotations/{each.split()[0]}.xml")
        easy.append(here)
        hard.append(doubtful)
    names = [f"JPEGImages/{each.split()[0]}.jpg" for each in ids]
    return of_files(f"voc2007/{split}", home, names, {"label": tuple(easy), "difficult": tuple(hard)})


def _voc2007_counted(home: Folder, split: str) -> Pictures:
    """Difficult objects are objects like others, as CLIP_benchmark's copy has them."""
    pictures = _voc2007(home, split)
    both = zip(pictures.words("label"), pictures.words("difficult"), strict=True)
    return replace(
        pictures, columns={"id": pictures.columns["id"], "label": tuple(tuple(sorted(a + b)) for a, b in both)}
    )


def _objects(home: Folder, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    text = home.text(name)
    if "<!" in text:
        raise Broken(f"{home.at(name)}: declares entities, which no annotation of VOC does; it is not parsed")
    try:
        found = [
            (entry.findtext("name", ""), entry.findtext("difficult", "0"))
            for entry in ElementTree.fromstring(text).iter("object")
        ]
    except ElementTree.ParseError as error:
        raise Broken(f"{home.at(name)}: is no whole XML ({error}); get it anew") from error
    easy = {label.strip() for label, difficult in found if difficult.strip() != "1"}
    hard = {label.strip() for label, _ in found} - easy
    return tuple(sorted(easy)), tuple(sorted(hard))


_voc_reader = functools.partial(
    Reader,
    marks=(("ImageSets/Main/test.txt", "Annotations"), ("ImageSets/Main/trainval.txt", "Annotations")),
    given=("train", "val", "trainval", "test"),
    homes=("", "VOC2007", "VOCdevkit/VOC2007"),
)
VOC2007 = (
    _voc_reader("voc2007", make=_voc2007),
    _voc_reader("voc2007@difficult-counted", make=_voc2007_counted),
)

NEAR_METRES, FAR_METRES, NONE_METRES = 8.0, 20.0, 999.0
VEHICLES = ("Car", "Van", "Truck")
KITTI_SEED = 123
PERCENT = 10


def _distance_class(home: Folder, name: str) -> str:
    """VTAB's closest_vehicle_distance: the smallest z (14th field) of cars, vans and trucks, against 8, 20 and 999 metres."""
    nearest = math.inf
    for line in home.lines(name):
        fields = line.split()
        try:
            if fields[0] in VEHICLES:
                nearest = min(nearest, float(fields[13]))
        except (IndexError, ValueError) as error:
            raise Broken(f"{home.at(name)}: '{line[:60]}' is no label of KITTI") from error
    return str(sum(nearest > limit for limit in (NEAR_METRES, FAR_METRES, NONE_METRES)))


def _kitti(home: Folder, split: str) -> Pictures:
    """The split of TFDS kitti 3.1.0, by sequence: its draw, with the devkit's mapping of pictures to sequences."""
    sequences = _sequences(home)
    if sequences is None:
        raise Absent(
            f"{home.path}: needs mapping/train_rand.txt and train_mapping.txt of devkit_object.zip, which say the split"
        )
    numbers = kitti_splits(sequences)[split]
    return _kitti_pictures(home, split, [f"{number:06d}" for number in numbers], sequences)


def _sequences(home: Folder) -> list[str] | None:
    """The sequence of every training picture by its number; None without the devkit's mapping."""
    below = next((below for below in ("mapping", "devkit/mapping", "devkit_object/mapping") if home.has(below)), None)
    if below is None:
        return None
    try:
        order = [int(word) - 1 for word in home.text(f"{below}/train_rand.txt").split(",")]
        lines = home.lines(f"{below}/train_mapping.txt")
        return [lines[at].split(" ")[1] for at in order]
    except (ValueError, IndexError) as error:
        raise Broken(f"{home.at(below)}: is no mapping of KITTI's devkit ({error})") from error


def kitti_splits(sequence_of: list[str]) -> dict[str, list[int]]:
    """Numbers of pictures per split: a tenth of the sequences to test, a tenth of the rest's number to choose by."""
    sequences = sorted(set(sequence_of))
    count = max(1, PERCENT * len(sequences) // 100)
    draw = np.random.RandomState(KITTI_SEED)
    test = set(draw.choice(sequences, count, replace=False).tolist())
    val = set(draw.choice(sorted(set(sequences) - test), count, replace=False).tolist())
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for number, sequence in enumerate(sequence_of):
        parts["test" if sequence in test else "val" if sequence in val else "train"].append(number)
    return parts


def _kitti_all(home: Folder, split: str) -> Pictures:
    names = [name.rpartition("/")[2].removesuffix(".png") for name in home.pictures("training/image_2")]
    return _kitti_pictures(home, split, names, _sequences(home))


def _kitti_pictures(home: Folder, split: str, names: list[str], sequences: list[str] | None) -> Pictures:
    """Frames of one sequence show one street, and are a cluster."""
    columns = {"label": tuple(_distance_class(home, f"training/label_2/{name}.txt") for name in names)}
    if sequences is not None and all(name.isdigit() and int(name) < len(sequences) for name in names):
        columns[CLUSTER] = tuple(sequences[int(name)] for name in names)
    return of_files(f"kitti-distance/{split}", home, [f"training/image_2/{name}.png" for name in names], columns)


_KITTI_MARK = (("training/image_2", "training/label_2"),)
_KITTI_HOMES = ("", "raw", "Kitti/raw", "kitti")
KITTI = (
    Reader("kitti-distance", _KITTI_MARK, _kitti, ("train", "val", "test"), _KITTI_HOMES),
    Reader("kitti-distance@official", _KITTI_MARK, _kitti_all, ("test",), _KITTI_HOMES),
)

CHUNK = 1 << 20


def scenes_of(home: Folder, name: str) -> Iterator[tuple[str, int]]:
    """(picture, number of objects) of CLEVR_train_scenes.json, one scene in memory at a time (the file has 0.6 GB)."""
    path = home.at(name)
    home.size(name)  # says that it is missing
    decoder, buffer, inside = json.JSONDecoder(), "", False
    filesystem, file_name = storage.filesystem_of(path)
    with filesystem.open(file_name, "rb") as file:
        while piece := file.read(CHUNK):
            buffer += piece.decode("latin-1")
            if not inside:
                at = buffer.find('"scenes"')
                start = buffer.find("[", at) if at >= 0 else -1
                if start < 0:
                    continue
                inside, buffer = True, buffer[start + 1 :]
            while True:
                buffer = buffer.lstrip(" \n\r\t,")
                if buffer.startswith("]"):
                    return
                try:
                    scene, end = decoder.raw_decode(buffer)
                    yield str(scene["image_filename"]), len(scene["objects"])
                except ValueError:  # not whole yet
                    break
                except (KeyError, TypeError) as error:
                    raise Broken(f"{path}: has a scene without image_filename and objects") from error
                buffer = buffer[end:]
    raise Broken(f"{path}: ends within its scenes; get it anew")


def _clevr(home: Folder, split: str) -> Pictures:
    """VTAB count_all: the validation part to test; of the training part TFDS's first 90 % and last 10 %."""
    official = "val" if split == "test" else "train"
    pairs = list(scenes_of(home, f"scenes/CLEVR_{official}_scenes.json"))
    if split != "test":
        order = tfds_order([name for name, _ in pairs])
        first = shares(len(order), (90, 10))[0]
        chosen = sorted(order[:first] if split == "train" else order[first:])
        pairs = [pairs[at] for at in chosen]
    return _clevr_pictures(home, split, official, pairs)


def _clevr_paper(home: Folder, split: str) -> Pictures:
    """2,000 of the training and 500 of the validation part; the paper's draw is unpublished, this one is ours."""
    official, count = {"train": ("train", 2000), "test": ("val", 500)}[split]
    pairs = list(scenes_of(home, f"scenes/CLEVR_{official}_scenes.json"))
    chosen = drawn([name for name, _ in pairs], [""] * len(pairs), {split: count})[split]
    return _clevr_pictures(home, split, official, [pairs[at] for at in chosen])


def _clevr_pictures(home: Folder, split: str, official: str, pairs: list[tuple[str, int]]) -> Pictures:
    names = [f"images/{official}/{name}" for name, _ in pairs]
    return of_files(f"clevr-counts/{split}", home, names, {"label": tuple(str(count) for _, count in pairs)})


_clevr_reader = functools.partial(
    Reader, marks=(("scenes/CLEVR_val_scenes.json", "images/val"),), homes=("", "CLEVR_v1.0", "clevr/CLEVR_v1.0")
)
CLEVR = (
    _clevr_reader("clevr-counts", make=_clevr, given=("train", "val", "test")),
    _clevr_reader("clevr-counts@clip-paper", make=_clevr_paper, given=("train", "test")),
)
