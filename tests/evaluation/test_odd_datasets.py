"""Datasets of one's own as they are found on real disks: measured where they mean something, one line where they do not."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.catalog.benchmarks import find
from evaluation.config import EvaluateConfig
from evaluation.features.pixels import picture_pixels
from evaluation.pictures.open import open_pictures
from evaluation.probe.config import ProbeConfig
from evaluation.report import Report
from evaluation.run import evaluate
from pipeline.errors import ConfigError
from tests.evaluation.test_parts import mine, shop

LEARNED = ("linear_probe", "few_shot", "few_shot_lsr", "knn")


def measured(above: Path, card: str, *protocols: str) -> Report:
    probe = ProbeConfig(shots=(1, 2), seeds=(1,), lsr_shots=(1,))
    config = EvaluateConfig.model_validate(
        {"tasks": (card,), "protocols": protocols, "probe": probe, "bootstrap_resamples": 100, "threads": 1}
    )
    report = evaluate(config, mine(above), str(above / "features"))
    report.save(str(above / "report"))
    return Report.load(str(above / "report"))


def rename(above: Path, words: dict[str, str]) -> None:
    for split in ("train", "test"):
        for old, new in words.items():
            os.rename(above / "fruit" / split / old, above / "fruit" / split / new)


def test_a_letter_that_the_file_system_decomposed_is_the_cards_letter(tmp_path: Path) -> None:
    card = Path(shop(tmp_path, "fruit"))
    rename(tmp_path, {"apple": unicodedata.normalize("NFD", "Äpfel"), "pear": "梨"})
    card.write_text("folder: fruit\nclasses: [Äpfel, 梨]\n")
    report = measured(tmp_path, str(card), "zero_shot", "knn")
    assert report.absent == ()
    assert set(report.outcomes.column("label").to_pylist()) == {"Äpfel", "梨"}


def test_a_file_whose_name_is_no_text_is_named_and_kept(tmp_path: Path) -> None:
    card = shop(tmp_path, "fruit")
    home = os.fsencode(tmp_path / "fruit/test/apple")
    os.rename(os.path.join(home, b"0.png"), os.path.join(home, b"\xff.png"))
    report = measured(tmp_path, card, "zero_shot")
    assert "test/apple/\\xff.png" in report.outcomes.column("id").to_pylist()
    os.truncate(os.path.join(home, b"\xff.png"), 30)
    (row,) = measured(tmp_path, card, "zero_shot").absent
    assert "test/apple/\\xff.png" in row["reason"]


def test_a_picture_of_each_class_is_enough_for_what_needs_no_choice(tmp_path: Path) -> None:
    card = shop(tmp_path, "fruit")
    for number in (1, 2):
        for word in ("apple", "pear"):
            (tmp_path / f"fruit/train/{word}/{number}.png").unlink()
    report = measured(tmp_path, card, *LEARNED)
    assert {score.protocol for score in report.scores} == {"few_shot_lsr", "knn"}
    assert [(row["protocol"], row["status"]) for row in report.absent] == [
        ("linear_probe", "broken"),
        ("few_shot", "broken"),
    ]
    assert all("1 picture" in row["reason"] or "one picture" in row["reason"] for row in report.absent)


def test_one_class_alone_is_always_right(tmp_path: Path) -> None:
    card = Path(shop(tmp_path, "fruit"))
    for split in ("train", "test"):
        os.rename(tmp_path / "fruit" / split / "pear", tmp_path / f"{split}-pear")
    card.write_text("folder: fruit\nclasses: [apple]\n")
    report = measured(tmp_path, str(card), "zero_shot", *LEARNED)
    assert report.absent == ()
    assert {score.value for score in report.scores if score.metric == "top1"} == {1.0}


def test_of_sixteen_bits_the_upper_eight_are_seen_and_numbers_without_a_range_are_refused(tmp_path: Path) -> None:
    card = shop(tmp_path, "fruit")
    ramp = (np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "fruit/test/apple/0.png")
    pictures = open_pictures(find(card), "test")
    assert np.array_equal(picture_pixels(pictures, 0), np.repeat((ramp >> 8)[..., None], 3, axis=2))
    (tmp_path / "fruit/test/apple/0.png").unlink()
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "fruit/test/apple/0.tif")
    (row,) = measured(tmp_path, card, "zero_shot").absent
    assert (row["status"], "no stated range (mode F)" in row["reason"]) == ("broken", True)


def table(home: Path, lines: str) -> None:
    for part in ("train", "test"):
        os.rename(home / part, home.parent / part)
    (home / "test.csv").write_text(lines)
    for at in range(2):
        Image.new("RGB", (8, 8), (90 * at, 0, 0)).save(home / f"{at}.png")


def unsplit(home: Path) -> None:
    os.rename(home / "test/pear", home / "pear")
    os.rename(home / "test", home / "apple")
    os.rename(home / "train", home.parent / "away")


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda home: table(home, "file,label\n"), "test.csv: lists no picture"),
    "semicolons": (
        lambda home: table(home, "file;label\n0.png;apple\n"),
        "has no column of files, but file;label; call it one of file,",
    ),
    "twice": (
        lambda home: table(home, "file,label\n0.png,apple\n0.png,pear\n1.png,pear\n"),
        "test.csv: lists 0.png twice; once, several labels with | between them",
    ),
    "gap": (lambda home: table(home, "file,label\n0.png,apple\n7.png,pear\n"), "7.png: is missing"),
    "number": (lambda home: table(home, "file,label\n0.png,0\n1.png,1\n"), "label '0' and 1 more is not in the task's"),
    "unsplit": (
        unsplit,
        "in no layout that is known; expected test/<class>/*.jpg and train/<class>/*.jpg, or test.csv",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_does_not_fit_is_one_line(name: str, tmp_path: Path) -> None:
    card = shop(tmp_path, "fruit")
    spoil, words = ODD[name]
    spoil(tmp_path / "fruit")
    (row,) = measured(tmp_path, card, "zero_shot").absent
    assert (row["status"], words in row["reason"], "\n" in row["reason"]) == ("broken", True, False), row


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("früchte.yaml", "classes: [apple, pear]", "name: 'früchte' is to be of a-z, A-Z, 0-9"),
        ("fruit.yaml", "classes: {apple: [''], pear: [pear]}", "class 'apple' has an empty name"),
        ("fruit.yaml", "classes: [apple, apple]", "one is named twice"),
        ("fruit.yaml", "classes: [0, 1]", "write words, in quotes where they are numbers"),
        ("fruit.yaml", "clases: [a, b]", "clases: there is no such key; did you mean classes?"),
        ("fruit.yaml", "classes: [a]\nclasses: [b]", "the key classes is written twice"),
        ("fruit.yaml", "classes: [a, b]\ntemplates: 'a {}'", "templates: write a list, as in [a, b]"),
        ("fruit.yaml", "classes: [a, b]\nsplits: [train]", "splits: write a mapping, as in {train: null, test: 200}"),
        ("fruit.yaml", "classes: [a, b]\nreference: imagnet", "there is no task 'imagnet'; did you mean imagenet?"),
        ("fruit.yaml", "prompts: cifar-10", "prompts 'cifar-10': there are none; did you mean cifar10?"),
        ("fruit.yaml", "prompts: mine.json", "mine.json': there is no such file"),
    ],
)
def test_a_card_that_means_nothing_is_one_line(file: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        EvaluateConfig(tasks=(str(tmp_path / file),))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pictures_of_films_must_say_which_are_asked(tmp_path: Path) -> None:
    card = shop(tmp_path, "fruit", "kind: frames\nmetric: pm0\n")
    (row,) = measured(tmp_path, card, "natural_shift").absent
    assert "does not say which pictures are anchors" in row["reason"]


def test_what_is_not_asked_of_several_labels_says_so(tmp_path: Path) -> None:
    """Of alternatives in a classification few-shot and k-NN were an IndexError, the others: "class '('pear',)' has no prompts"."""
    card = shop(tmp_path, "fruit")
    home = tmp_path / "fruit"
    for split in ("train", "test"):
        files = sorted(path.relative_to(home) for path in (home / split).rglob("*.png"))
        lines = [f"{file},{'apple|pear' if at == 0 else file.parts[1]}" for at, file in enumerate(files)]
        (home / f"{split}.csv").write_text("\n".join(["file,label", *lines]))
    report = measured(tmp_path, card, "zero_shot", *LEARNED, "robustness", "occlusion", "inside")
    assert {score.protocol for score in report.scores} == {"zero_shot", "linear_probe"}
    unasked = {
        row["protocol"]: (row["status"], "have several labels, which this is not asked of" in row["reason"])
        for row in report.absent
    }
    assert unasked == dict.fromkeys(
        ("few_shot", "few_shot_lsr", "knn", "robustness", "occlusion", "inside"), ("broken", True)
    )


def test_of_many_labels_a_part_may_have_none_of_several(tmp_path: Path) -> None:
    """A validation part of one label each ended the probe with a bug's words; such a training part gave a softmax over classes."""
    card = Path(shop(tmp_path, "fruit"))
    card.write_text("kind: multilabel\nfolder: fruit\nclasses: [apple, pear]\n")
    home = tmp_path / "fruit"
    files = {
        split: sorted(path.relative_to(home) for path in (home / split).rglob("*.png")) for split in ("train", "test")
    }
    rows = [f"{file},{'apple|pear' if at % 3 == 0 else file.parts[1]},train" for at, file in enumerate(files["train"])]
    rows += [f"{file},{file.parts[1] if at else ''},test" for at, file in enumerate(files["test"])]
    for word in ("apple", "pear"):
        os.makedirs(home / "val" / word)
        os.link(home / f"train/{word}/2.png", home / f"val/{word}/9.png")
        rows.append(f"val/{word}/9.png,{word},val")
    (home / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    report = measured(tmp_path, str(card), "zero_shot", "linear_probe")
    assert report.absent == ()
    assert {score.metric for score in report.scores} == {"map_11_point", "map"}
    assert report.details["fruit"]["linear_probe"]["learned_from"]["val"]["pictures"] == 2
    assert len(report.outcomes.column("scores").drop_null()) == 2 * 4


def test_a_blank_caption_is_none(tmp_path: Path) -> None:
    """All blank ones were one text, which every such picture was found by."""
    card = Path(shop(tmp_path, "fruit"))
    card.write_text("kind: retrieval\nmetric: recall@1\nlabel: caption\nfolder: fruit\n")
    home = tmp_path / "fruit"
    files = sorted(path.relative_to(home) for path in (home / "test").rglob("*.png"))
    for captions, reason in (
        (["a", "", "c", " "], "fruit/test: picture 1 has no caption; leave it out or add one"),
        (["a", "b|", "c| |d", "e"], None),
    ):
        lines = [f"{file},{caption}" for file, caption in zip(files, captions, strict=True)]
        (home / "test.csv").write_text("\n".join(["file,caption", *lines]))
        report = measured(tmp_path, str(card), "retrieval")
        assert [row["reason"] for row in report.absent] == ([reason] if reason else [])
    assert report.details["fruit"]["retrieval"]["captions"]["texts"] == 5
