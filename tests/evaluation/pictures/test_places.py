"""Benchmarks under the names, and as deep, as others leave them on a disk."""

from pathlib import Path

import pytest
from miniatures import make
from PIL import Image

from evaluation.catalog.benchmarks import card_of, find, prompts_of
from evaluation.catalog.presence import identity, present
from evaluation.catalog.verify import strangers
from evaluation.pictures.image_folder import IMAGE_FOLDER
from evaluation.pictures.open import find_layout
from evaluation.pictures.pictures import Broken

ELSEWHERE = {
    # one root for all, as torchvision unpacks below it
    "food101": "food-101",
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "sun397": "SUN397",
    "cars": "stanford_cars",
    "fgvc-aircraft": "fgvc-aircraft-2013b/data",
    "voc2007": "VOCdevkit/VOC2007",
    "pets": "oxford-iiit-pet",
    "flowers102": "flowers-102",
    "stl10": "stl10_binary",
    "kitti-distance": "Kitti/raw",
    "clevr-counts": "clevr/CLEVR_v1.0",
    # an archive's folder in a folder, as unpackers make them
    "dtd": "dtd/dtd-r1.0.1/dtd",
    "rendered-sst2": "rendered-sst2/a/b/rendered-sst2",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_lies_elsewhere_is_found(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path / "data" / ELSEWHERE[name])
    folder, layout = find_layout(find(name), str(tmp_path / "data"))
    assert layout.name == made.layout
    split = next(iter(made.splits))
    pictures = layout.open(folder, split)
    assert list(pictures.columns[made.column]) == [label for label, _ in made.splits[split]]
    assert strangers(str(tmp_path / "data")) == []
    before = identity(find(name), str(tmp_path / "data"))
    some = next(path for path in (tmp_path / "data").rglob("*") if path.is_file())
    some.write_bytes(some.read_bytes() + b" ")
    assert identity(find(name), str(tmp_path / "data")) != before


@pytest.mark.parametrize("place", ["eurosat/EuroSAT", "EuroSAT/2750", "eurosat/EuroSAT_RGB/EuroSAT_RGB", "EuroSAT_RGB"])
def test_folders_of_classes_are_found_some_folders_down(place: str, tmp_path: Path) -> None:
    """Kaggle's copy has csv files beside the classes, which say another split."""
    task = find("eurosat@official")
    for label in prompts_of(task.prompts or "").classes:
        (tmp_path / place / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / place / label / f"{label}_1.jpg")
    (tmp_path / place / "test.csv").write_text(",Filename,Label,ClassName\n0,River/River_1.jpg,8,River\n")
    folder, layout = find_layout(task, str(tmp_path))
    assert layout.open(folder, "test").count == 10


def test_copies_of_the_hub_and_of_clip_benchmark_are_found(tmp_path: Path) -> None:
    hub = card_of("food101").hub
    assert hub is not None
    cached = tmp_path / "cache" / f"datasets--{hub.repository.replace('/', '--')}" / "snapshots"
    make("parquet", cached / "0a1b2c")
    make("parquet", cached / hub.revision)
    folder, layout = find_layout(find("food101"), str(tmp_path / "cache"))
    assert (Path(folder).name, layout.name) == (hub.revision, "parquet")
    make("webdataset", tmp_path / "wds" / "wds_vtab-dtd")
    folder, layout = find_layout(find("dtd"), str(tmp_path / "wds"))
    assert (Path(folder).name, layout.name) == ("wds_vtab-dtd", "webdataset")


def test_the_cards_own_name_comes_first_and_nothing_is_guessed(tmp_path: Path) -> None:
    for place in ("food101", "food-101"):
        make("food101", tmp_path / "both" / place)
    assert present(find("food101"), str(tmp_path / "both"))["folder"] == str(tmp_path / "both" / "food101")
    for place in ("first", "second"):
        make("dtd", tmp_path / "twice" / "dtd" / place)
    with pytest.raises(Broken, match=r"holds it in first, second; leave the one that is meant"):
        find_layout(find("dtd"), str(tmp_path / "twice"))


def test_pets_with_each_folder_in_one_of_its_name(tmp_path: Path) -> None:
    made = make("pets", tmp_path)
    home = tmp_path / "oxford-iiit-pet"
    for name in ("images", "annotations"):
        (home / name).rename(home / "inner")
        (home / name).mkdir()
        (home / "inner").rename(home / name / name)
    folder, layout = find_layout(find("pets"), str(tmp_path))
    pictures = layout.open(folder, "test")
    assert list(pictures.columns["label"]) == [label for label, _ in made.splits["test"]]
    assert pictures.read(0).size


def test_folders_of_splits_in_either_case_and_a_test_part_without_answers(tmp_path: Path) -> None:
    """As competitions publish them: Train/, Test/; and a test part of pictures alone, whose classes nobody has."""
    for split, label in (("Train", "pear"), ("Train", "plum"), ("VAL", "pear"), ("VAL", "plum")):
        (tmp_path / split / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / split / label / "1.jpg")
    assert IMAGE_FOLDER.splits(str(tmp_path)) == ("train", "test")
    (tmp_path / "Test").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "Test" / "9.jpg")
    assert IMAGE_FOLDER.splits(str(tmp_path)) == ("train", "test")
    assert IMAGE_FOLDER.open(str(tmp_path), "test").column("label") == ("pear", "plum")
    (tmp_path / "Test" / "pear").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "Test" / "pear" / "9.jpg")
    assert set(IMAGE_FOLDER.splits(str(tmp_path))) == {"train", "val", "test", "trainval"}
    assert IMAGE_FOLDER.open(str(tmp_path), "test").column("label") == ("pear",)
