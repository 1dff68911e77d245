"""A hostile user's folder: every kind of bad dataset beside two good ones; each is a typed row, and the rest is measured."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from miniatures import make
from PIL import Image

from evaluation.config import EvaluateConfig
from evaluation.models.abilities import Abilities
from evaluation.plan import plan_evaluation
from evaluation.report import Report
from evaluation.run import evaluate
from pipeline.errors import UserError

Spoil = Callable[[Path], object]

SPOILT: dict[str, tuple[Spoil, str, str]] = {
    "cut": (
        lambda home: (home / "test/apple/1.png").write_bytes((home / "test/apple/1.png").read_bytes()[:40]),
        "broken",
        r"picture 1 (test/apple/1.png) cannot be read",
    ),
    "stranger": (
        lambda home: shutil.copytree(home / "test/pear", home / "test/zebra"),
        "broken",
        "label 'zebra' is not in",
    ),
    "lacking": (lambda home: shutil.rmtree(home / "test/pear"), "broken", "has no picture of class 'pear' of 2"),
    "hollow": (lambda home: [path.unlink() for path in (home / "test/pear").iterdir()], "broken", "holds no picture"),
    "piped": (
        lambda home: os.mkfifo(home / "test/apple/9.png"),
        "broken",
        "test/apple/9.png: is missing or cannot be read",
    ),
    "endless": (
        lambda home: os.symlink("/dev/zero", home / "test/apple/9.png"),
        "broken",
        "test/apple/9.png: is missing or cannot be read",
    ),
    "vanished": (
        lambda home: shutil.rmtree(home),
        "absent",
        "no such folder, or nothing in it; vanished is expected there",
    ),
    "elsewhere": (
        lambda home: (
            [shutil.rmtree(home / part) for part in ("train", "test")] + [(home / "notes.txt").write_text("x")]
        ),
        "broken",
        "in no layout that is known; expected test/<class>/*.jpg",
    ),
}


def fruit(home: Path, name: str) -> str:
    for split in ("train", "test"):
        for at, word in enumerate(("apple", "pear")):
            (home / name / split / word).mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (20, 20), (80 * at, 20 * number, 5)).save(home / name / split / word / f"{number}.png")
    card = home / f"{name}.yaml"
    card.write_text(
        f"classes: [apple, pear]\nfolder: {name}\nlayouts: [image-folder]\nsplits: {{train: null, test: null}}\n"
    )
    return str(card)


def test_every_bad_dataset_is_a_typed_row_and_the_others_are_measured(checkpoint_folder: str, tmp_path: Path) -> None:
    cards = {name: fruit(tmp_path, name) for name in ("good", *SPOILT)}
    for name, (spoil, _, _) in SPOILT.items():
        spoil(tmp_path / name)
    make("cifar100", tmp_path / "cifar10")  # the wrong archive under the right name
    images = next((make("mnist", tmp_path / "mnist"), (tmp_path / "mnist").rglob("*t10k-images*"))[1])
    images.write_bytes(images.read_bytes()[:-100])
    (tmp_path / "pets").write_text("a file where a folder should be")
    tasks = ["scenes-colour", "cifar10", "mnist", "pets", "imagenet", *cards.values()]
    config = EvaluateConfig(tasks=tuple(tasks), datasets=str(tmp_path), protocols=("zero_shot",), threads=1)
    evaluate(config, checkpoint_folder, str(tmp_path / "features")).save(str(tmp_path / "report"))
    report = Report.load(str(tmp_path / "report"))  # what was saved is what is read
    rows = {row["task"]: row for row in report.absent if not row["protocol"]} | {
        row["task"]: row for row in report.absent if row["task"] in SPOILT and row["status"] != "unfit"
    }
    for name, (_, status, words) in SPOILT.items():
        assert (rows[name]["status"], words in rows[name]["reason"]) == (status, True), rows[name]
    assert rows["pets"]["status"] == rows["imagenet"]["status"] == "absent"
    assert rows["cifar10"]["status"] == "broken"
    assert "expected" in rows["cifar10"]["reason"]
    assert rows["mnist"]["status"] == "broken"
    assert not any("\n" in row["reason"] for row in report.absent)
    found = {(score.task, score.protocol) for score in report.scores}
    assert found == {("good", "zero_shot"), ("scenes-colour", "zero_shot")}


def test_a_plan_says_of_each_what_an_evaluation_would_meet(tmp_path: Path) -> None:
    """All but a picture that is cut off, which only decoding shows."""
    cards = {name: fruit(tmp_path, name) for name in ("good", *SPOILT)}
    for name, (spoil, _, _) in SPOILT.items():
        spoil(tmp_path / name)
    config = EvaluateConfig(tasks=("scenes-colour", *cards.values()), datasets=str(tmp_path), protocols=("zero_shot",))
    rows = {
        row["task"]: row for row in plan_evaluation(config, str(tmp_path / "features"), Abilities("clip-tiny"), 1e6)
    }
    assert (rows["good"]["status"], rows["good"]["to_read"]) == ("present", 6)
    assert rows["cut"]["status"] == "present"
    for name, (_, status, words) in SPOILT.items():
        if name != "cut":
            assert (rows[name]["status"], words in rows[name]["reason"]) == (status, True), rows[name]
    assert rows["stranger"]["minutes"] is None


MINE = """
import numpy as np
class Mine:
    name, side = "mine", 32
    def images(self, pixels):
        rows = np.arange(len(pixels) * 4, dtype=np.float32).reshape(-1, 4)
        {spoil}
        return rows
    def texts(self, sentences):
        return np.ones((len(sentences), 4), np.float32)
def load():
    return Mine()
"""


def measured(tmp_path: Path, checkpoint: str) -> Report:
    config = EvaluateConfig(tasks=(fruit(tmp_path, "good"),), protocols=("zero_shot", "knn"), threads=1)
    return evaluate(config, checkpoint, str(tmp_path / "features"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("rows[0] = np.nan", "the model gives NaN for picture 0"),
        ("1 / 0", "images failed (ZeroDivisionError: division by zero); mend it"),
        ("return rows[:-1]", "images"),
    ],
)
def test_a_model_whose_features_cannot_be_used_is_a_row(tmp_path: Path, spoil: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("{spoil}", spoil))
    report = measured(tmp_path, f"{tmp_path / 'mine.py'}:load")
    assert {(row["protocol"], row["status"]) for row in report.absent} == {("zero_shot", "broken"), ("knn", "broken")}
    assert all(message in row["reason"] and "\n" not in row["reason"] for row in report.absent)
    assert report.scores == ()


def test_a_checkpoint_of_another_family_or_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama/config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["Llama"]}))
    (tmp_path / "llama/model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    for place, words in (("llama", "llama"), ("nowhere", "give the folder of an openwit, open_clip or Hugging Face")):
        with pytest.raises(UserError) as caught:
            measured(tmp_path / f"data-{place}", str(tmp_path / place))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
