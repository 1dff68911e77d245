"""Miniatures of the layouts that fit any dataset: WebDataset tars, Parquet, image folders."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from miniatures.canvas import Made, Writer, encoded


def tar(path: Path, files: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _shards(folder: Path, split: str, samples: list[tuple[bytes, str, bytes]], each: int = 2) -> None:
    """Samples of (picture, extension of the label, label), as webdataset's ShardWriter cuts them."""
    starts = range(0, len(samples), each)
    for shard, start in enumerate(starts):
        files = []
        for at, (image, extension, label) in enumerate(samples[start : start + each], start):
            files += [(f"s{at:07d}.{extension}", label), (f"s{at:07d}.webp", image)]
        tar(folder / split / f"{shard}.tar", files)
    (folder / split / "nshards.txt").write_text(f"{len(starts)}\n")


def webdataset(folder: Path) -> Made:
    splits = {"train": [("0", 0), ("1", 1), ("0", 2)], "test": [("1", 3), ("0", 4)]}
    for split, samples in splits.items():
        _shards(folder, split, [(encoded(n, "WEBP", 16), "cls", label.encode()) for label, n in samples])
    (folder / "classnames.txt").write_text("red fox\nsnow owl\n")
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of {c}.\n")
    return Made("webdataset", dict(splits), classes=("red fox", "snow owl"))


def webdataset_multilabel(folder: Path) -> Made:
    vectors = [([1, 0, 1], 0), ([0, 0, 0], 1), ([0, 1, 0], 2)]
    samples = []
    for vector, number in vectors:
        stored = io.BytesIO()
        np.save(stored, np.array(vector))
        samples.append((encoded(number, "WEBP", 16), "npy", stored.getvalue()))
    _shards(folder, "test", samples)
    (folder / "classnames.txt").write_text("cat\ndog\nbird\n")
    (folder / "dataset_type.txt").write_text("multilabel\n")
    return Made("webdataset", {"test": [(("0", "2"), 0), ((), 1), (("1",), 2)]}, classes=("cat", "dog", "bird"))


def webdataset_retrieval(folder: Path) -> Made:
    captions = [("a cat", "one cat"), ("a dog", "a hound")]
    _shards(folder, "test", [(encoded(n, "WEBP", 16), "txt", "\n".join(c).encode()) for n, c in enumerate(captions)])
    (folder / "dataset_type.txt").write_text("retrieval\n")
    return Made("webdataset", {"test": [(c, n) for n, c in enumerate(captions)]}, column="caption")


def huggingface(path: Path, columns: dict[str, list[Any]], features: dict[str, Any], group: int = 2) -> None:
    """As `Dataset.to_parquet` of the `datasets` library leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({name: pa.array(v, image if name in ("image", "img") else None) for name, v in columns.items()})
    described = json.dumps({"info": {"features": features}}).encode()
    pq.write_table(table.replace_schema_metadata({b"huggingface": described}), path, row_group_size=group)


def parquet(folder: Path) -> Made:
    """Two files of a split; the split for tests is called validation, as Food-101's is."""
    features = {"image": {"_type": "Image"}, "label": {"names": ["apple_pie", "bibimbap"], "_type": "ClassLabel"}}
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    number = 0
    for name, split in (
        ("train-00000-of-00001", "train"),
        ("validation-00000-of-00002", "test"),
        ("validation-00001-of-00002", "test"),
    ):
        numbers = range(number, number + 3)
        number += 3
        images = [{"bytes": encoded(n, "PNG"), "path": f"{n}.png"} for n in numbers]
        huggingface(folder / "data" / f"{name}.parquet", {"image": images, "label": [n % 2 for n in numbers]}, features)
        splits[split] += [(str(n % 2), n) for n in numbers]
    return Made("parquet", splits, classes=("apple_pie", "bibimbap"))


def parquet_unlabelled_test(folder: Path) -> Made:
    """ImageNet's: test is there, without labels."""
    features = {"label": {"names": ["tench", "goldfish"], "_type": "ClassLabel"}}
    for name, labels in (("train", [0, 1]), ("validation", [1, 0]), ("test", [-1, -1])):
        images = [{"bytes": encoded(10 * len(name) + at, "PNG"), "path": None} for at in range(2)]
        huggingface(folder / f"{name}-00000-of-00001.parquet", {"image": images, "label": labels}, features)
    return Made(
        "parquet", {"train": [("0", 50), ("1", 51)], "test": [("1", 100), ("0", 101)]}, classes=("tench", "goldfish")
    )


def parquet_faces(folder: Path) -> Made:
    """Several columns of classes and none called label, in the folders of the hub's own converter."""
    features = {
        "age": {"names": ["0-2", "3-9"], "_type": "ClassLabel"},
        "race": {"names": ["East Asian", "Indian", "Black"], "_type": "ClassLabel"},
        "service_test": {"dtype": "bool", "_type": "Value"},
    }
    images = [{"bytes": encoded(at, "PNG"), "path": None} for at in range(2)]
    columns = {"image": images, "age": [1, 0], "race": [2, 0], "service_test": [True, False]}
    huggingface(folder / "default" / "validation" / "0000.parquet", columns, features)
    return Made(
        "parquet", {"test": [("Black", 0), ("East Asian", 1)]}, column="race", columns={"test": {"age": ["3-9", "0-2"]}}
    )


def parquet_config(folder: Path) -> Made:
    """In the folder of the only configuration, as CIFAR-10 lies on the hub; other folders hold no such files."""
    made = parquet(folder / "plain_text")
    (folder / "plain_text" / "data" / "train-00000-of-00001.parquet").rename(
        folder / "plain_text" / "data" / "train-00000-of-00001-0123456789abcdef.parquet"
    )
    (folder / "readme").mkdir()
    (folder / "readme" / "notes.parquet").write_bytes(b"x")
    return Made("parquet-config", made.splits, classes=made.classes)


def image_folder(folder: Path) -> Made:
    """Hidden files and other files are no pictures; a class's folder may have folders."""
    writer = Writer(folder)
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "val": [], "test": []}
    for split, called in (("train", "train"), ("val", "validation"), ("test", "test")):
        for name in ("cat/1.jpg", "cat/2.PNG", "t-shirt/deep/1.jpg"):
            splits[split].append((name.split("/")[0], writer.write(f"{called}/{name}")))
    writer.put("train/.DS_Store", b"x")
    writer.put("train/cat/._1.jpg", b"x")
    writer.put("train/cat/notes.txt", "x")
    return Made("image-folder", splits)


UNIVERSAL = {
    "webdataset": webdataset,
    "webdataset-multilabel": webdataset_multilabel,
    "webdataset-retrieval": webdataset_retrieval,
    "parquet": parquet,
    "parquet-unlabelled-test": parquet_unlabelled_test,
    "parquet-faces": parquet_faces,
    "parquet-config": parquet_config,
    "image-folder": image_folder,
}
