"""Miniatures of datasets that are a folder per class: ImageNet and its kin among them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from miniatures.canvas import Made, Writer, colour

TENCH, FISH, SHARK = "n01440764", "n01443537", "n01484850"


def country211(folder: Path) -> Made:
    writer = Writer(folder / "country211")
    splits = {
        split: [(code, writer.write(f"{called}/{code}/{split}.jpg")) for code in ("AD", "ZW")]
        for split, called in (("train", "train"), ("val", "valid"), ("test", "test"))
    }
    return Made("country211", splits)


def rendered_sst2(folder: Path) -> Made:
    writer = Writer(folder / "rendered-sst2")
    splits = {
        split: [(label, writer.write(f"{called}/{label}/0.png")) for label in ("negative", "positive")]
        for split, called in (("train", "train"), ("val", "valid"), ("test", "test"))
    }
    return Made("rendered-sst2", splits)


def kinetics700(folder: Path) -> Made:
    """Names of classes hold spaces and brackets."""
    writer = Writer(folder)
    labels = ("abseiling", "passing American football (in game)")
    splits = {
        split: [(label, writer.write(f"{called}/{label}/abc_000.jpg")) for label in labels]
        for split, called in (("train", "train"), ("test", "val"))
    }
    return Made("kinetics700", splits)


def kinetics700_flat(folder: Path) -> Made:
    """CVDF's archives: clips without folders beside the official lists; an id may hold _ and -, a clip may be gone."""
    writer = Writer(folder)
    clips = {
        "train": (("air drumming", "-3B32lodo2M", 59), ("abseiling", "_a_0_1_2_3_", 8)),
        "val": (("abseiling", "a1B2c3D4e5F", 0),),
    }
    splits = {}
    for called, rows in clips.items():
        listed = [*rows, ("zumba", "goneGONEgon", 100)]
        lines = [f"{label},{key},{start},{start + 10},{called}" for label, key, start in listed]
        writer.put(
            f"annotations/{called}.csv", "\n".join(["label,youtube_id,time_start,time_end,split", *lines]) + "\n"
        )
        splits["test" if called == "val" else called] = [
            (label, writer.write(f"{called}/{key}_{start:06d}_{start + 10:06d}.png")) for label, key, start in rows
        ]
    return Made("kinetics700", splits)


def imagenet(folder: Path) -> Made:
    writer = Writer(folder)
    train = [(s, writer.write(f"train/{s}/{s}_{at}.JPEG")) for s in (TENCH, FISH) for at in (1, 10)]
    test = [(s, writer.write(f"val/{s}/ILSVRC2012_val_0000000{at}.JPEG")) for at, s in ((2, TENCH), (1, FISH))]
    writer.put("real.json", [[1], [], [0, 1]])
    return Made("imagenet", {"train": train, "test": test})


def imagenet_flat(folder: Path) -> Made:
    """The official tar, with the devkit, whose numbers are not in the order of the synsets."""
    writer = Writer(folder)
    numbers = [writer.write(f"val/ILSVRC2012_val_0000000{at}.JPEG") for at in (1, 2, 3)]
    writer.put("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", "2\n1\n3\n")
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    rows = np.zeros((4, 1), kind)
    for at, (number, synset) in enumerate(((1, SHARK), (2, TENCH), (3, FISH), (1001, "n00000001"))):
        rows[at, 0] = (np.array([[number]]), synset, "a word")
    savemat(writer.folder / "ILSVRC2012_devkit_t12/data/meta.mat", {"synsets": rows})
    return Made("imagenet", {"test": list(zip((TENCH, SHARK, FISH), numbers, strict=True))})


def imagenet_kaggle(folder: Path) -> Made:
    """Kaggle's archive: the answers are beside ILSVRC/, not in it."""
    writer = Writer(folder)
    train = [(TENCH, writer.write(f"ILSVRC/Data/CLS-LOC/train/{TENCH}/{TENCH}_1.JPEG"))]
    numbers = [writer.write(f"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_0000000{at}.JPEG") for at in (1, 2)]
    answers = [f"ILSVRC2012_val_00000002,{FISH} 1 2 3 4 {FISH} 5 6 7 8", f"ILSVRC2012_val_00000001,{TENCH} 1 2 3 4"]
    writer.put("LOC_val_solution.csv", "ImageId,PredictionString\n" + "\n".join(answers) + "\n")
    return Made("imagenet", {"train": train, "test": list(zip((TENCH, FISH), numbers, strict=True))})


def imagenet_kaggle_within(folder: Path) -> Made:
    """As people put it: the answers moved into ILSVRC/."""
    made = imagenet_kaggle(folder)
    (folder / "LOC_val_solution.csv").rename(folder / "ILSVRC/LOC_val_solution.csv")
    return made


def imagenet_real(folder: Path) -> Made:
    """The second picture has no label in ReaL, and is left out; numbers in the names count, not the order of files."""
    imagenet(folder)
    Writer(folder).put("real.json", [[1], [0, 1], []])
    return Made("imagenet-real", {"test": [(("1",), 5), (("0", "1"), 4)]})


def imagenetv2(folder: Path) -> Made:
    """Folders are numbers; 10 comes after 2."""
    writer = Writer(folder / "imagenetv2-matched-frequency-format-val")
    order = ("0", "2", "10", "999")
    return Made("imagenetv2", {"test": [(name, writer.write(f"{name}/a.jpeg")) for name in order]})


def _flat(layout: str, below: str, folder: Path) -> Made:
    writer = Writer(folder / below)
    test = [(s, writer.write(f"{s}/{at}.jpg")) for s in (TENCH, FISH) for at in range(2)]
    writer.put("README.txt", "x")
    return Made(layout, {"test": test})


def objectnet(folder: Path) -> Made:
    """A red border of two pixels around each."""
    writer = Writer(folder / "objectnet-1.0")
    test = []
    for number, label in enumerate(("air_freshener", "alarm_clock")):
        framed = Image.new("RGB", (14, 12), (255, 0, 0))
        framed.paste(colour(number), (2, 2, 12, 10))
        path = writer.folder / "images" / label / "a.png"
        path.parent.mkdir(parents=True)
        framed.save(path)
        test.append((label, number))
    writer.put("mappings/folder_to_objectnet_label.json", json.dumps({"alarm_clock": "Alarm clock"}))
    return Made("objectnet", {"test": test})


def imagenet_c(folder: Path) -> Made:
    writer = Writer(folder)
    every = []
    for group, kind in (("weather", "fog"), ("digital", "pixelate")):
        for severity in "12345":
            for synset in (TENCH, FISH):
                every.append((synset, writer.write(f"{group}/{kind}/{severity}/{synset}/a.JPEG")))
    return Made(
        "imagenet-c",
        {"test": every, "fog/3": every[4:6], "pixelate": every[10:]},
        columns={"fog/3": {"corruption": ["fog", "fog"], "severity": ["3", "3"]}},
    )


def imagenet_c_archive(folder: Path) -> Made:
    """blur.tar alone."""
    writer = Writer(folder)
    test = [(TENCH, writer.write(f"blur/zoom_blur/{severity}/{TENCH}/a.JPEG")) for severity in "12345"]
    return Made("imagenet-c", {"test": test, "zoom_blur/2": test[1:2]})


FOLDERS = {
    "country211": country211,
    "rendered-sst2": rendered_sst2,
    "kinetics700": kinetics700,
    "kinetics700-flat": kinetics700_flat,
    "imagenet": imagenet,
    "imagenet-flat": imagenet_flat,
    "imagenet-kaggle": imagenet_kaggle,
    "imagenet-kaggle-within": imagenet_kaggle_within,
    "imagenet-real": imagenet_real,
    "imagenetv2": imagenetv2,
    "imagenet-a": lambda folder: _flat("imagenet-a", "imagenet-a", folder),
    "imagenet-r": lambda folder: _flat("imagenet-r", "imagenet-r", folder),
    "imagenet-sketch": lambda folder: _flat("imagenet-sketch", "sketch", folder),
    "objectnet": objectnet,
    "imagenet-c": imagenet_c,
    "imagenet-c-archive": imagenet_c_archive,
}
