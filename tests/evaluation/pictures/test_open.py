"""The door: which layout is taken, what is said of what is absent or broken, and counts against the catalog's."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from miniatures import make
from miniatures.canvas import encoded
from miniatures.universal import huggingface

from evaluation.catalog.benchmarks import Task, find, names, prompts_of
from evaluation.pictures.decoding import decoded
from evaluation.pictures.open import find_layout, open_pictures
from evaluation.pictures.pictures import Absent, Broken
from evaluation.pictures.table import LAYOUTS


def small(name: str) -> Task:
    """The task of the catalog as if it had as many pictures as are there, and any classes."""
    return replace(find(name), prompts=None, counts={}, pictures=None)


def test_every_task_of_the_catalog_has_a_reader_of_its_own() -> None:
    tasks = [find(name) for name in names()]
    without = [task.name for task in tasks if not task.loader and not set(task.layouts) & set(LAYOUTS)]
    assert without == []


def test_a_tasks_own_layout_comes_before_those_that_fit_anything(tmp_path: Path) -> None:
    make("rendered-sst2", tmp_path / "rendered-sst2")
    make("image-folder", tmp_path / "rendered-sst2")
    assert find_layout(small("rendered-sst2"), str(tmp_path))[1].name == "rendered-sst2"
    make("webdataset", tmp_path / "pets")
    assert find_layout(small("pets"), str(tmp_path))[1].name == "webdataset"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("coco", "dataset_coco.json", "annotations/dataset_coco.json"),
        ("flickr30k", "flickr30k-images", "flickr30k_images/flickr30k_images"),
        ("cars", "stanford_cars/cars_train", "stanford_cars/cars_train/cars_train"),
    ],
)
def test_archives_that_unpack_a_folder_deeper_are_read(name: str, before: str, after: str, tmp_path: Path) -> None:
    home = tmp_path / find(name).folder
    make(name, home)
    split = "train" if name == "cars" else "test"
    found = open_pictures(small(name), split, str(tmp_path))
    pixels = found.read(0).tobytes()
    (home / before).rename(tmp_path / "aside")
    (home / after).parent.mkdir(exist_ok=True)
    (tmp_path / "aside").rename(home / after)
    again = open_pictures(small(name), split, str(tmp_path))
    assert again.words(find(name).label) == found.words(find(name).label)
    assert again.read(0).tobytes() == pixels


def test_a_validation_part_that_is_drawn_may_leave_classes_out_and_no_other_part_may(tmp_path: Path) -> None:
    task = find("caltech101")
    assert task.prompts is not None
    classes = [name for name in prompts_of(task.prompts).classes if name != "BACKGROUND_Google"]
    for folder, count in [("BACKGROUND_Google", 30), *((name, 31) for name in classes)]:
        place = tmp_path / "caltech101" / "101_ObjectCategories" / folder
        place.mkdir(parents=True)
        for at in range(count):
            (place / f"image_{at + 1:04d}.jpg").write_bytes(b"x")
    val = open_pictures(task, "val", str(tmp_path))
    assert (val.count, len(set(val.column("label"))) < 102) == (306, True)
    assert len(set(open_pictures(task, "train", str(tmp_path)).column("label"))) == 102
    small_test = replace(task, counts={**(task.counts or {}), "test": 102})
    assert open_pictures(small_test, "test", str(tmp_path)).count == 102
    shutil.rmtree(tmp_path / "caltech101" / "101_ObjectCategories" / "anchor")
    with pytest.raises(Broken, match="has no picture of class 'anchor' of 102"):
        open_pictures(task, "train", str(tmp_path))


def test_a_variant_has_its_own_reader(tmp_path: Path) -> None:
    make("coop", tmp_path / "pets")
    make("sun397@datacomp", tmp_path / "sun397")
    make("gtsrb@official", tmp_path / "gtsrb")
    assert open_pictures(small("pets@coop"), "trainval", str(tmp_path)).count == 2
    assert open_pictures(small("sun397@datacomp"), "test", str(tmp_path)).count == 4
    assert open_pictures(small("sun397"), "test", str(tmp_path)).count == 1
    assert open_pictures(small("gtsrb@official"), "train", str(tmp_path)).column("label") == ("7", "7")
    with pytest.raises(Absent, match=r"has no Training/; the competition's 26,640 and the final 39,209"):
        open_pictures(small("gtsrb"), "train", str(tmp_path))


def test_parquet_is_joined_by_the_names_that_its_own_files_give(tmp_path: Path) -> None:
    """Train and test may number their classes differently, and neither as the card does; files of one split may not."""
    card = tmp_path / "fruit.yaml"
    card.write_text("classes: [red_apple, pear]\nfolder: photos\nlayouts: [parquet]\nsplits: {train: 2, test: 2}\n")

    def write(name: str, names: list[str]) -> None:
        images = [{"bytes": encoded(at, "PNG"), "path": None} for at in range(2)]
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        huggingface(tmp_path / f"photos/{name}-00000-of-00001.parquet", {"image": images, "label": [0, 1]}, features)

    write("train", ["pear", "Red apple"])
    write("test", ["red_apple", "pear"])
    task = find(str(card))
    assert open_pictures(task, "train").column("label") == ("pear", "red_apple")
    assert open_pictures(task, "test").column("label") == ("red_apple", "pear")
    assert open_pictures(task, "train").classes is None
    write("test-00001", ["pear", "red_apple"])
    with pytest.raises(Broken, match=r"test-00001.* names the classes of 'label' otherwise than"):
        open_pictures(task, "test")


def test_what_is_absent_is_said_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(
        Absent, match=r"pets: its pictures are on disk; set evaluate.datasets to the folder that holds pets/"
    ):
        open_pictures(find("pets"), "test", None)
    with pytest.raises(Absent, match=r"nowhere: no such folder.*pets is expected in .*/nowhere/pets"):
        open_pictures(find("pets"), "test", str(tmp_path / "nowhere"))
    (tmp_path / "something").mkdir()
    with pytest.raises(Absent, match=r"/pets: no such folder, or nothing in it; pets is expected there"):
        open_pictures(find("pets"), "test", str(tmp_path))
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "images.tar.gz").write_bytes(b"x")
    with pytest.raises(Broken, match=r"expected annotations/test.txt and images \(or in oxford-iiit-pet/\)"):
        open_pictures(find("pets"), "test", str(tmp_path))


def test_labels_and_counts_are_checked_against_the_catalog(tmp_path: Path) -> None:
    make("pets", tmp_path / "pets")
    with pytest.raises(Broken, match=r"pets/test: has no picture of class 'Abyssinian' and 35 more of 37"):
        open_pictures(find("pets"), "test", str(tmp_path))
    task = replace(find("pets"), prompts=None)
    with pytest.raises(Broken, match=r"pets/test has 1 pictures, its benchmark has 3,669"):
        open_pictures(task, "test", str(tmp_path))
    fitting = replace(task, counts={"train": 2, "val": None, "test": 1})
    assert open_pictures(fitting, "trainval", str(tmp_path)).count == 2
    films = replace(find("imagenet-vid-robust"), prompts=None)
    make("imagenet-vid-robust", tmp_path / "imagenet-vid-robust")
    with pytest.raises(Broken, match=r"has 2 pictures, its benchmark has 1,109"):
        open_pictures(films, "test", str(tmp_path))


def test_a_layout_without_the_column_that_is_asked_for_is_broken(tmp_path: Path) -> None:
    make("image-folder", tmp_path / "flickr30k")
    with pytest.raises(Broken, match="as image-folder it has no 'caption', but id, label"):
        open_pictures(find("flickr30k"), "test", str(tmp_path))


def test_openwits_own_drawings_need_no_folder() -> None:
    assert open_pictures(find("digits"), "test").count == 360
    assert open_pictures(find("digits"), "trainval").count == 1437
    with pytest.raises(Absent, match="digits: has no split 'val'; it has train, test"):
        open_pictures(find("digits"), "val")


@pytest.mark.parametrize(
    ("words", "splits"),
    [
        (("Train", "Test"), ("train", "test")),
        (("training", "testing"), ("train", "test")),
        (("train", "validation"), ("train", "test")),
        (("train", "valid", "TEST"), ("train", "val", "test", "trainval")),
    ],
)
def test_a_table_says_splits_as_folders_do(tmp_path: Path, words: tuple[str, ...], splits: tuple[str, ...]) -> None:
    for at in range(6):
        (tmp_path / f"{at}.png").write_bytes(encoded(at))
    rows = [f"{at}.png,{'ab'[at % 2]},{words[at % len(words)]}" for at in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows]) + "\n")
    table = LAYOUTS["table"]
    assert table.splits(str(tmp_path)) == splits
    asked = len(words) - 1
    found = table.open(str(tmp_path), "test")
    assert found.column("id") == tuple(f"{at}.png" for at in range(6) if at % len(words) == asked)
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows, "0.png,a,holdout"]) + "\n")
    with pytest.raises(Broken, match=r"labels.csv: column split says 'holdout'; write train, val or test"):
        table.open(str(tmp_path), "test")


KAGGLE = {
    "gtsrb@official": (
        {"Train/14/a.png": "14", "Train/2/b.png": "2", "Test/00000.png": "", "Test/00001.png": ""},
        {"Test.csv": "Width,Height,ClassId,Path\n12,12,16,Test/00000.png\n12,12,3,Test/00001.png\n"},
        (("14", "2"), ("16", "3")),
    ),
    "cars": (
        {
            "car_data/car_data/train/Ram C-V Cargo Van Minivan 2012/a.jpg": "",
            "car_data/car_data/test/AM General Hummer SUV 2000/b.jpg": "",
        },
        {},
        (("174",), ("1",)),
    ),
    "fer2013@kaggle-folders": (
        {"train/fear/a.png": "", "train/surprise/b.png": "", "test/disgust/c.png": "", "test/happy/d.png": ""},
        {},
        (("2", "5"), ("1", "3")),
    ),
}


@pytest.mark.parametrize("name", KAGGLE)
def test_copies_that_many_have_are_read_and_their_words_joined(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, texts, labels = KAGGLE[name]
    task = replace(find(name), counts={}, pictures=None)
    monkeypatch.setattr("evaluation.pictures.open.needs_every_class", lambda task, split: False)
    for at, (place, content) in enumerate([*pictures.items(), *texts.items()]):
        path = tmp_path / task.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if place in texts else encoded(at))
    for split, found in zip(("train", "test"), labels, strict=True):
        read = open_pictures(task, split, str(tmp_path))
        assert read.column(task.label) == found
        assert read.read(0).size == (12, 12)


LAND = {
    "AnnualCrop": "Annual Crop Land",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "SeaLake": "Sea or Lake",
}


def spoken_by_coop(task: str, key: str, name: str, at: int) -> tuple[str, str]:
    """A picture of a class and the class's name as the scripts of KaiyangZhou/CoOp write them into split_zhou_*.json."""
    if task == "eurosat":
        return f"{key}/{key}_{at}.jpg", LAND.get(key, name)
    if task == "caltech101":
        return f"{key}/image_{at:04d}.jpg", {"Faces": "face", "airplanes": "airplane"}.get(key, key)
    if task == "sun397":
        return f"{key[1:]}/sun_{at}.jpg", " ".join(reversed(key[1:].split("/")[1:]))
    if task == "cars":
        return f"cars_test/{at:05d}.jpg", f"{name[-4:]} {name[:-5]}"
    if task == "flowers102":
        return f"image_{at:05d}.jpg", "ball moss" if key == "93" else name
    return f"{name.replace(' ', '_')}/v_{key}_{at}.jpg", name.replace(" ", "_")  # ucf101


@pytest.mark.parametrize(
    ("task", "classes"),
    [("eurosat", 10), ("caltech101", 100), ("sun397", 397), ("cars", 196), ("flowers102", 102), ("ucf101", 101)],
)
def test_coops_splits_are_joined_though_they_call_classes_by_words_of_their_own(
    task: str, classes: int, tmp_path: Path
) -> None:
    asked = replace(find(f"{task}@coop"), counts={}, pictures=None)
    keys = prompts_of(asked.prompts or "").classes
    rows = [(*spoken_by_coop(task, key, names[0], at), key) for at, (key, names) in enumerate(keys.items())]
    for path, *_ in rows:
        (tmp_path / task / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / task / "images" / path).write_bytes(b"x")
    listed = [[path, at, word] for at, (path, word, _) in enumerate(rows)]
    split = {"train": listed, "val": listed[:1], "test": listed}
    (tmp_path / task / "split_zhou_Any.json").write_text(json.dumps(split))
    pictures = open_pictures(asked, "test", str(tmp_path))
    assert pictures.column("label") == tuple(key for *_, key in rows)
    assert len(set(pictures.column("label"))) == classes


def test_torchvisions_caltech_101_has_no_background_and_asks_for_none(tmp_path: Path) -> None:
    asked = replace(find("caltech101@torchvision"), counts={}, pictures=None)
    for key in prompts_of("caltech101").classes:
        (tmp_path / "caltech101/101_ObjectCategories" / key).mkdir(parents=True)
        (tmp_path / "caltech101/101_ObjectCategories" / key / "image_0001.jpg").write_bytes(b"x")
    assert open_pictures(asked, "test", str(tmp_path)).count == len(prompts_of(asked.prompts or "").classes) == 101


@pytest.mark.parametrize(
    ("task", "number", "label"), [("fer2013", 4, "6"), ("country211", 0, "AD"), ("rendered-sst2", 1, "positive")]
)
def test_numbers_of_clip_benchmarks_copies_are_its_own_though_parquet_lost_their_names(
    task: str, number: int, label: str, tmp_path: Path
) -> None:
    """mteb/wds_fer2013 and its like: columns jpg and cls. CLIP_benchmark's class 4 of FER is neutral, the csv's is sad."""
    asked = replace(find(task), counts={}, pictures=None)
    classes = len(prompts_of(asked.prompts or "").classes)
    images = [{"bytes": encoded(at, "PNG"), "path": None} for at in range(classes)]
    order = [number, *(at for at in range(classes) if at != number)]
    for split in ("train", "val", "test"):
        path = tmp_path / task / f"data/{split}-00000-of-00001.parquet"
        huggingface(path, {"image": images, "cls": order}, {"image": {"_type": "Image"}})
    for split in ("test", "trainval"):
        assert open_pictures(asked, split, str(tmp_path)).column("label")[0] == label
    make("webdataset", tmp_path / "two/rendered-sst2")
    (tmp_path / "two/rendered-sst2/classnames.txt").unlink()
    two = replace(find("rendered-sst2"), counts={}, pictures=None)
    assert open_pictures(two, "test", str(tmp_path / "two")).column("label") == ("positive", "negative")


def test_a_column_that_tells_splits_apart_is_heeded_within_a_file(tmp_path: Path) -> None:
    """nlphuji/flickr30k keeps all 31,014 pictures in its split "test"; Karpathy's are in the column `split`."""
    images = [{"bytes": encoded(at, "PNG"), "path": None} for at in range(5)]
    said = ["train", "test", "val", "test", "train"]
    columns = {"image": images, "caption": [[f"picture {at}", "a picture"] for at in range(5)], "split": said}
    huggingface(tmp_path / "flickr30k/data/test-00000-of-00001.parquet", columns, {"image": {"_type": "Image"}})
    asked = replace(find("flickr30k"), counts={"test": 2})
    pictures = open_pictures(asked, "test", str(tmp_path))
    assert [words[0] for words in pictures.words("caption")] == ["picture 1", "picture 3"]
    assert pictures.read(1).tobytes() == decoded(encoded(3, "PNG"), "").tobytes()
