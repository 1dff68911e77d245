"""Miniatures with a table beside the pictures: GTSRB, FER2013, FairFace, Hateful Memes, and a csv of one's own."""

import json
from pathlib import Path

import numpy as np

from miniatures.canvas import Made, Writer


def gtsrb(folder: Path) -> Made:
    """As torchvision unpacks it; the csv inside the archive of the test pictures has no classes."""
    writer = Writer(folder / "gtsrb")
    train = [(str(int(c)), writer.write(f"GTSRB/Training/{c}/00000_00000.ppm")) for c in ("00000", "00014")]
    writer.put("GTSRB/Training/00014/GT-00014.csv", "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n")
    writer.put("GTSRB/Final_Test/Images/GT-final_test.test.csv", "Filename;Width;Height\n00000.ppm;53;54\n")
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
    writer.put("GT-final_test.csv", head + "00000.ppm;53;54;6;5;48;49;16\n00001.ppm;42;45;5;5;36;40;1\n")
    test = [(c, writer.write(f"GTSRB/Final_Test/Images/0000{at}.ppm")) for at, c in enumerate(("16", "1"))]
    return Made("gtsrb", {"train": train, "test": test})


def gtsrb_official(folder: Path) -> Made:
    """The other training set, with tracks of 30 pictures."""
    writer = Writer(folder / "GTSRB")
    train = [("7", writer.write(f"Final_Training/Images/00007/00000_0000{at}.ppm")) for at in range(2)]
    writer.put("Final_Test/Images/GT-final_test.csv", "Filename;Width;ClassId\n00000.ppm;53;7\n")
    test = [("7", writer.write("Final_Test/Images/00000.ppm"))]
    return Made("gtsrb@official", {"train": train, "test": test})


def _face(number: int) -> str:
    shade = np.arange(48)[None, :].repeat(48, axis=0) * 4 + number
    return " ".join(map(str, shade.reshape(-1)))


def fer2013(folder: Path) -> Made:
    rows = [("0", 0, "Training"), ("6", 1, "PublicTest"), ("3", 2, "PrivateTest"), ("2", 3, "Training")]
    text = "emotion,pixels,Usage\n" + "".join(f"{label},{_face(n)},{usage}\n" for label, n, usage in rows)
    (folder / "fer2013.csv").write_text(text)
    splits = {"train": [("0", 0), ("2", 3)], "val": [("6", 1)], "test": [("3", 2)]}
    return Made("fer2013", splits | {"trainval": splits["train"] + splits["val"]}, grey=True)


def fer2013_icml(folder: Path) -> Made:
    """The same with other names of columns (with spaces) in another order."""
    rows = [("5", "Training", 0), ("1", "PublicTest", 1), ("4", "PrivateTest", 2)]
    text = "emotion, Usage, pixels\n" + "".join(f"{label},{usage},{_face(n)}\n" for label, usage, n in rows)
    (folder / "icml_face_data.csv").write_text(text)
    return Made("fer2013", {"train": [("5", 0)], "val": [("1", 1)], "test": [("4", 2)]}, grey=True)


def fairface(folder: Path) -> Made:
    writer = Writer(folder)
    head = "file,age,gender,race,service_test\n"
    splits = {}
    for split, part in (("train", "train"), ("test", "val")):
        rows = [
            (f"{part}/1.jpg", "50-59", "Male", "East Asian"),
            (f"{part}/2.jpg", "more than 70", "Female", "Latino_Hispanic"),
        ]
        splits[split] = [(race, writer.write(f"fairface-img-margin125-trainval/{file}")) for file, *_, race in rows]
        writer.put(f"fairface_label_{part}.csv", head + "".join(",".join([*row, "True"]) + "\n" for row in rows))
    more = {"age": ["50-59", "more than 70"], "gender": ["Male", "Female"]}
    return Made("fairface", splits, column="race", columns={"test": more})


def _memes(writer: Writer, file: str, numbers: list[tuple[int, str]]) -> list[tuple[str, int]]:
    made = [(label, writer.write(f"img/{at:05d}.png")) for at, label in numbers]
    lines = [{"id": at, "img": f"img/{at:05d}.png", "label": int(label), "text": "it's"} for at, label in numbers]
    writer.put(file, "\n".join(json.dumps(line) for line in lines) + "\n")
    return made


def hateful_memes(folder: Path) -> Made:
    writer = Writer(folder)
    train = _memes(writer, "train.jsonl", [(42953, "0"), (23058, "1")])
    test = _memes(writer, "dev_seen.jsonl", [(8291, "1"), (46971, "0")])
    writer.put("test_seen.jsonl", json.dumps({"id": 1, "img": "img/00001.png", "text": "no label"}) + "\n")
    return Made("hateful-memes", {"train": train, "test": test}, columns={"test": {"text": ["it's", "it's"]}})


def own_table(folder: Path) -> Made:
    """Several labels of a picture in one cell, separated by |."""
    writer = Writer(folder)
    numbers = [writer.write(f"photos/{at}.jpg") for at in range(3)]
    lines = [
        "file,split,label,tags",
        "photos/0.jpg,test,cat,soft|small",
        "photos/1.jpg,train,dog,",
        "photos/2.jpg,test,dog,loud",
    ]
    writer.put("labels.csv", "\n".join(lines) + "\n")
    test = [("cat", numbers[0]), ("dog", numbers[2])]
    tags = [("soft", "small"), ("loud",)]
    return Made("table", {"test": test, "train": [("dog", numbers[1])]}, columns={"test": {"tags": tags}})


def hub_folder(folder: Path) -> Made:
    """As the `datasets` library saves an image folder: a list beside the pictures of each split, csv or a JSON object a line."""
    writer = Writer(folder)
    test = [(label, writer.write(f"test/0{at}.jpg")) for at, label in enumerate(("cat", "dog"))]
    writer.put("test/metadata.csv", "file_name,label,text\n00.jpg,cat,one\n01.jpg,dog,two\n")
    train = [("7", writer.write("train/inner/x.jpg"))]
    row = {"file_name": "inner/x.jpg", "label": 7, "text": "three"}
    writer.put("train/metadata.jsonl", json.dumps(row) + "\n")
    return Made("metadata", {"test": test, "train": train}, columns={"test": {"text": ["one", "two"]}})


def hub_captions(folder: Path) -> Made:
    writer = Writer(folder)
    test = [((text,), writer.write(f"test/{at}.png")) for at, text in enumerate(("a cat", "a dog"))]
    lines = [json.dumps({"file_name": f"{at}.png", "text": text[0]}) for at, (text, _) in enumerate(test)]
    writer.put("test/metadata.jsonl", "\n".join(lines))
    return Made("metadata", {"test": test}, column="caption")


TABLES = {
    "gtsrb": gtsrb,
    "gtsrb@official": gtsrb_official,
    "fer2013": fer2013,
    "fer2013-icml": fer2013_icml,
    "fairface": fairface,
    "hateful-memes": hateful_memes,
    "table": own_table,
    "metadata": hub_folder,
    "metadata-captions": hub_captions,
}
