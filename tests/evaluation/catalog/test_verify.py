"""verify on folders that are whole, cut short, mislabelled, of another variant, or not there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from miniatures import make
from PIL import Image

from evaluation.catalog.benchmarks import card_of, find
from evaluation.catalog.hashes import list_hash
from evaluation.catalog.presence import identity, present
from evaluation.catalog.verify import misfits, nearest, verify
from orchestration.cli import cli, main
from pipeline.errors import ConfigError, DataError


def cifar_10_1(root: Path, count: int, labels: int = 10) -> None:
    """CIFAR-10.1 in its own layout, all black."""
    folder = root / "cifar10.1"
    folder.mkdir(parents=True)
    np.save(folder / "cifar10.1_v6_data.npy", np.zeros((count, 32, 32, 3), np.uint8))
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(count, dtype=np.int32) % labels)


def folder_of_fruit(home: Path, test: int = 2) -> str:
    for split, count in (("train", 4), ("test", test)):
        for word in ("red_apple", "pear"):
            folder = home / "photos" / split / word
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    card = home / "fruit.yaml"
    card.write_text(
        "classes: [red_apple, pear]\nfolder: photos\nlayouts: [image-folder]\nsplits: {train: 8, test: 4}\n"
    )
    return str(card)


def test_a_whole_dataset_is_told_from_one_cut_short_and_one_mislabelled(tmp_path: Path) -> None:
    cifar_10_1(tmp_path / "whole", 2000)
    (row,) = verify(str(tmp_path / "whole"), bytes_too=False)
    assert (row["task"], row["status"], row["variant"], row["exact"]) == ("cifar10.1", "ok", "v6", True)
    test = row["splits"]["test"]
    assert (test["pictures"], test["classes"], test["fewest"], test["most"]) == (2000, 10, 200, 200)
    cifar_10_1(tmp_path / "short", 1990)
    (row,) = verify(str(tmp_path / "short"), bytes_too=False)
    assert (row["status"], row["variant"], row["exact"]) == ("wrong", "v6", False)
    assert row["problems"] == ["cifar10.1: test has 1,990, 'v6' has 2,000; that is the nearest known variant of v6, v4"]
    assert row["splits"]["test"]["hash"] != test["hash"]
    cifar_10_1(tmp_path / "nine", 2000, labels=9)
    (row,) = verify(str(tmp_path / "nine"), bytes_too=False)
    assert row["status"] == "wrong"
    assert "has no picture of class 'truck'" in row["problems"][0]
    cifar_10_1(tmp_path / "eleven", 2000, labels=11)
    (row,) = verify(str(tmp_path / "eleven"), bytes_too=False)
    assert row["status"] == "wrong"
    assert "10" in row["problems"][0]
    cifar_10_1(tmp_path / "cut", 2000)
    data = tmp_path / "cut/cifar10.1/cifar10.1_v6_data.npy"
    data.write_bytes(data.read_bytes()[:-5000])
    (row,) = verify(str(tmp_path / "cut"), bytes_too=False)
    assert row["status"] == "wrong"
    assert str(data) in row["problems"][0]
    assert "\n" not in row["problems"][0]


def test_ones_own_card_is_verified_like_any_other(tmp_path: Path) -> None:
    card = folder_of_fruit(tmp_path)
    (row,) = verify(str(tmp_path), [card])
    assert (row["status"], row["layout"], row["exact"]) == ("ok", "image-folder", True)
    assert row["splits"]["train"]["per_class"] == {"red_apple": 4, "pear": 4}
    (tmp_path / "photos/test/pear/0.png").unlink()
    (row,) = verify(str(tmp_path), [card])
    assert row["problems"] == ["fruit: test has 3, 'own' has 4"]
    shutil.rmtree(tmp_path / "photos/test/pear")
    (row,) = verify(str(tmp_path), [card])
    assert "has no picture of class 'pear'" in row["problems"][0]


def test_a_known_hash_tells_equal_counts_with_other_labels(tmp_path: Path) -> None:
    card = Path(folder_of_fruit(tmp_path))
    (row,) = verify(str(tmp_path), [str(card)])
    found = row["splits"]["test"]["hash"]
    text = card.read_text().replace(
        "splits: {train: 8, test: 4}", "variants: {mine: {train: 8, test: 4, hashes: {test: HASH}}}"
    )
    right, wrong = tmp_path / "right.yaml", tmp_path / "wrong.yaml"
    right.write_text(text.replace("HASH", found))
    wrong.write_text(text.replace("HASH", "f" * 64))
    assert verify(str(tmp_path), [str(right)])[0]["status"] == "ok"
    (row,) = verify(str(tmp_path), [str(wrong)])
    assert row["problems"] == ["wrong: test has as many pictures as 'mine', but others, or other labels"]


def test_the_hash_is_of_pairs_whatever_their_order() -> None:
    one = list_hash(["b", "a"], [("cat",), ("dog", "bird")])
    assert one == list_hash(["a", "b"], [("bird", "dog"), ("cat",)])
    assert one != list_hash(["a", "b"], [("cat",), ("bird", "dog")])
    assert list_hash(None, [("cat",), ("dog",)]) != list_hash(None, [("dog",), ("cat",)])


@pytest.mark.parametrize(
    ("name", "counts", "variant", "exact"),
    [
        ("eurosat", {"train": 10000, "test": 5000}, "clip-paper", True),
        ("eurosat", {"train": 21600, "test": 5400}, "vtab", True),
        ("eurosat", {"test": 27000}, "official", True),
        ("eurosat", {"test": 5390}, "vtab", False),
        ("sun397", {"test": 108754}, "datacomp", True),
        ("sun397", {"train": 87003, "test": 21750}, "vtab", True),
        ("fer2013", {"train": 28709, "test": 3589}, "official", True),
        ("ucf101", {"test": 1794}, "clip-paper", True),
        ("gtsrb", {"train": 39209, "test": 12630}, "official", True),
        ("caltech101", {"test": 8677}, "torchvision", True),
        ("dtd", {"train": 1880, "val": 1880, "test": 1880}, "official", True),
        ("cars", {"train": 6509, "val": 1635, "test": 8041}, "coop", True),
    ],
)
def test_the_nearest_known_variant_is_named(name: str, counts: dict[str, int], variant: str, exact: bool) -> None:
    variants = card_of(name).variants
    assert nearest(counts, variants) == variant
    assert (not misfits(counts, variants[variant])) == exact


def test_presence_is_a_glance(tmp_path: Path) -> None:
    assert present(find("digits"), None)["status"] == "drawn"
    row = present(find("dtd"), str(tmp_path))
    assert (row["status"], row["pictures"]) == ("absent", 1880)
    assert row["reason"].endswith("`openwit tasks fetch dtd` gets it")
    assert "set evaluate.datasets" in present(find("dtd"), None)["reason"]
    assert present(find("ucf101"), str(tmp_path))["reason"].endswith("says where to get it")
    (tmp_path / "dtd").mkdir()
    (tmp_path / "dtd/notes.txt").write_text("nothing of use")
    assert present(find("dtd"), str(tmp_path))["status"] == "broken"
    make("mnist", tmp_path / "mnist")
    row = present(find("mnist"), str(tmp_path))
    assert (row["status"], row["layout"], row["splits"]) == ("present", "mnist", ["train", "test"])
    assert present(find(folder_of_fruit(tmp_path)), None)["status"] == "present"
    make("imagenet", tmp_path / "imagenet")
    assert present(find("imagenet"), str(tmp_path))["status"] == "present"
    assert present(find("imagenet-real"), str(tmp_path))["status"] == "present"
    (tmp_path / "imagenet/real.json").unlink()
    row = present(find("imagenet-real"), str(tmp_path))
    assert row["status"] == "absent"
    assert "needs real.json" in row["reason"]


def test_the_command_shows_each_dataset_and_ends_with_2_where_one_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cifar_10_1(tmp_path, 2000)
    (tmp_path / "holiday").mkdir()
    done = CliRunner().invoke(cli, ["tasks", "verify", "--quick", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "no benchmark's folder: holiday" in done.stdout
    make("mnist", tmp_path / "mnist")
    done = CliRunner().invoke(cli, ["tasks", "verify", "--quick", str(tmp_path), "--json"])
    assert done.exit_code == 2
    rows = {row["task"]: row["status"] for row in json.loads(done.stdout)["tasks"]}
    assert rows == {"mnist": "wrong", "cifar10.1": "ok"}
    assert main(["tasks", "verify", "--quick", str(tmp_path), "cifar10.1"]) == 0
    assert main(["tasks", "verify", str(tmp_path), "dtd"]) == 2
    capsys.readouterr()
    for words, message in (
        (
            ["tasks", "verify", str(tmp_path / "nowhere")],
            "no such folder, or nothing in it; name the folder that holds",
        ),
        (["tasks", "verify", str(tmp_path), "dtdd"], "openwit: no task is called 'dtdd'; did you mean dtd?"),
        (["tasks", "fetch", "dtdd"], "openwit: no task is called 'dtdd'; did you mean dtd?"),
        (["tasks", "show", "dtd@x"], "openwit: 'dtd' has no variant 'x'; it has "),
        (["tasks", "--suite", "clip-72"], "there is none; the suites are small, clip-27"),
    ):
        assert main(words) == 2
        shown = capsys.readouterr().err.strip()
        assert message in shown
        assert "\n" not in shown


def test_a_folder_of_strangers_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError, match="holds no benchmark; each lies in a folder of its own"):
        verify(str(tmp_path))
    with pytest.raises(ConfigError, match="no such folder"):
        verify(str(tmp_path / "nowhere"))


def test_identity_changes_with_what_is_there_and_what_is_asked_but_not_with_the_place(tmp_path: Path) -> None:
    before = identity(find("cifar10.1"), str(tmp_path / "one"))
    cifar_10_1(tmp_path / "one", 2000)
    cifar_10_1(tmp_path / "other", 2000)
    after = identity(find("cifar10.1"), str(tmp_path / "one"))
    assert before != after == identity(find("cifar10.1"), str(tmp_path / "other"))
    (tmp_path / "here").mkdir()
    card = Path(folder_of_fruit(tmp_path / "here"))
    whole = identity(find(str(card)), None)
    picture = next(path for path in sorted(card.parent.rglob("*")) if path.suffix in (".png", ".jpg"))
    content = picture.read_bytes()
    picture.write_bytes(content[: len(content) // 2])
    assert identity(find(str(card)), None) != whole
    picture.write_bytes(content)
    asked = identity(find(str(card)), None)
    assert asked == whole
    card.write_text(card.read_text() + 'templates: ["one {}."]\n')
    assert identity(find(str(card)), None) != asked
