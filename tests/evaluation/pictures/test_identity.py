"""What readers promise beside the pictures: an identity that follows content, nothing decoded early, splits by rule, URLs."""

import gzip
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import fsspec
import numpy as np
import pytest
from miniatures import MINIATURES, make
from miniatures.canvas import Writer
from PIL import Image

from evaluation.pictures import described
from evaluation.pictures.folder import Folder
from evaluation.pictures.split_rules import drawn, tfds_order
from evaluation.pictures.table import LAYOUTS


@pytest.mark.parametrize("name", MINIATURES)
def test_nothing_is_decoded_and_no_time_or_place_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(name, tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for path in (tmp_path / "there").rglob("*"):
        os.utime(path, (1, 1))
    monkeypatch.setattr(Image, "open", None)
    layout = LAYOUTS[made.layout]
    for split in made.splits:
        here, there = (layout.open(str(tmp_path / place), split).identity for place in ("here", "there"))
        assert here == there


@pytest.mark.parametrize("name", MINIATURES)
def test_a_list_goes_to_other_processes_and_threads_without_its_pixels(name: str, tmp_path: Path) -> None:
    """A worker gets the index and opens the files itself; several threads read at once."""
    made = make(name, tmp_path)
    pictures = LAYOUTS[made.layout].open(str(tmp_path), "test")
    pixels = [np.asarray(pictures.read(at)) for at in range(pictures.count)]
    sent = cloudpickle.dumps(pictures.followed_by(pictures.subset([0]), "both"))
    assert not any(len(row.tobytes()) > 999 and row.tobytes() in sent for row in pixels)
    there = cloudpickle.loads(sent)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(there.read, [*range(pictures.count), pictures.count]))
    assert all(np.array_equal(np.asarray(a), b) for a, b in zip(again, [*pixels, pixels[0]], strict=True))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("image-folder", "test/cat/1.jpg"),
        ("parquet", "data/validation-00001-of-00002.parquet"),
        ("cifar10", "cifar-10-batches-py/test_batch"),
        ("mnist-gz", "MNIST/raw/t10k-images-idx3-ubyte.gz"),
        ("svhn", "test_32x32.mat"),
        ("webdataset", "test/0.tar"),
    ],
)
def test_other_bytes_or_another_order_are_another_identity(name: str, file: str, tmp_path: Path) -> None:
    layout = LAYOUTS[make(name, tmp_path / "one").layout]
    pictures = layout.open(str(tmp_path / "one"), "test")
    assert pictures.subset([0]).identity != pictures.identity != pictures.subset(range(pictures.count)[::-1]).identity
    other = tmp_path / "other"
    make(name, other)
    if name == "webdataset":
        shutil.copy(other / "train/0.tar", other / file)
    elif name == "parquet":
        shutil.copy(other / "data/train-00000-of-00001.parquet", other / file)
    elif name == "mnist-gz":
        (other / file).write_bytes(gzip.compress(gzip.decompress((other / file).read_bytes()), 1))
    else:
        (other / file).write_bytes((other / file).read_bytes() + b"\0")
    assert layout.open(str(other), "test").identity != pictures.identity


def test_tfds_order_is_that_of_its_hashes() -> None:
    keys = [f"AnnualCrop_AnnualCrop_{at}.jpg" for at in range(50)]
    slow = sorted(range(50), key=lambda at: int(hashlib.md5(("train" + keys[at]).encode()).hexdigest(), 16))
    assert tfds_order(keys) == slow != list(range(50))


def test_a_draw_is_per_class_and_the_rest_is_the_rest() -> None:
    names = [f"{label}/{at}.jpg" for label in "ab" for at in range(10)]
    parts = drawn(names, [name[0] for name in names], {"train": 3, "val": 2, "test": None})
    assert [len(parts[split]) for split in ("train", "val", "test")] == [6, 4, 10]
    assert sorted(at for places in parts.values() for at in places) == list(range(20))
    assert all(sum(names[at][0] == "a" for at in places) == len(places) / 2 for places in parts.values())


def _class_folder(folder: Path, labels: list[str], each: int) -> None:
    for label in labels:
        for at in range(1, each + 1):
            Writer(folder).put(f"{label}/{label}_{at}.jpg", b"x" * at)


@pytest.mark.parametrize(
    ("layout", "labels", "each", "sizes"),
    [
        ("eurosat", ["AnnualCrop", "Forest"], 50, {"train": 60, "val": 20, "test": 20}),
        ("eurosat@official", ["AnnualCrop", "Forest"], 50, {"test": 100}),
        ("resisc45", ["airplane", "beach"], 50, {"train": 60, "val": 20, "test": 20}),
        ("resisc45@clip-paper", ["airplane", "beach"], 150, {"train": 140, "val": 140, "test": 20}),
        ("caltech101", ["BACKGROUND_Google", "accordion"], 40, {"train": 53, "val": 6, "test": 21}),
        ("caltech101@clip-paper", ["BACKGROUND_Google", "accordion"], 40, {"train": 59, "test": 21}),
        ("caltech101@torchvision", ["BACKGROUND_Google", "accordion"], 40, {"test": 40}),
    ],
)
def test_rules_for_datasets_that_come_without_splits(
    layout: str, labels: list[str], each: int, sizes: dict[str, int], tmp_path: Path
) -> None:
    _class_folder(tmp_path, labels, each)
    opened = {split: LAYOUTS[layout].open(str(tmp_path), split) for split in sizes}
    assert {split: pictures.count for split, pictures in opened.items()} == sizes
    ids = [name for pictures in opened.values() for name in pictures.columns["id"]]
    assert len(set(ids)) == len(ids)
    if layout == "eurosat":
        keys = sorted((f"{name.split('/')[0]}_{name.split('/')[1]}" for name in ids), key=_tfds)
        assert {name.replace("/", "_") for name in opened["test"].columns["id"]} == set(keys[80:])


def _tfds(key: str) -> str:
    return hashlib.md5(b"train" + key.encode()).hexdigest()


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 20])
def test_scenes_are_read_a_piece_at_a_time(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("clevr-counts", tmp_path)
    monkeypatch.setattr(described, "CHUNK", chunk)
    name = "CLEVR_v1.0/scenes/CLEVR_train_scenes.json"
    whole = json.loads((tmp_path / name).read_text())["scenes"]
    wanted = [(scene["image_filename"], len(scene["objects"])) for scene in whole]
    assert list(described.scenes_of(Folder(str(tmp_path)), name)) == wanted


@pytest.mark.parametrize(
    "name", ["image-folder", "webdataset", "parquet", "cifar10", "mnist-gz", "voc2007", "stl10", "cifar10-c"]
)
def test_a_dataset_on_another_filesystem_reads_the_same(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), f"/{name}", recursive=True)
    here, there = (LAYOUTS[made.layout].open(folder, "test") for folder in (str(tmp_path), f"memory://{name}"))
    assert here.identity == there.identity
    assert here.columns == there.columns
    for index in range(here.count):
        assert np.array_equal(np.asarray(here.read(index)), np.asarray(there.read(index)))
    memory.rm(f"/{name}", recursive=True)
