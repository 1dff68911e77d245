"""Files beside the hashes that are published of them: right, another dataset's, cut off, damaged, gone."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.catalog import verify_files as module
from evaluation.catalog.benchmarks import card_of, find, names, stored_names
from evaluation.catalog.card import KnownFile, read_card
from evaluation.catalog.fetch import RECORD
from evaluation.catalog.hashes import digests, named
from evaluation.catalog.verify import verify
from evaluation.catalog.verify_files import verify_files, wrong
from evaluation.config import EvaluateConfig
from evaluation.run import evaluate
from orchestration.cli import main
from pipeline.errors import ConfigError


def states(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["file"]: row["state"] for row in rows}


def test_every_published_hash_belongs_to_one_file_and_says_who_states_it() -> None:
    stated: dict[str, str] = {}
    for name in stored_names():
        for each in card_of(name).files:
            assert each.source, (name, each.name)
            for digest in filter(None, (each.md5, each.sha256)):
                assert stated.setdefault(digest, f"{name}/{each.name}") == f"{name}/{each.name}"
    assert len(stated) > 110
    with_hashes = {name for name in stored_names() if card_of(name).files}
    assert {"cifar10", "mnist", "svhn", "stl10", "gtsrb", "pets", "flowers102", "dtd", "food101", "pcam"} <= with_hashes
    assert {"imagenet", "voc2007", "kitti-distance", "clevr-counts", "sun397", "fer2013", "eurosat"} <= with_hashes


def known(monkeypatch: pytest.MonkeyPatch, name: str, *files: KnownFile) -> None:
    """The card `name` with these files in place of its own, everything else as it is."""
    whole = {each: card_of(each) for each in stored_names()}
    whole[name] = whole[name].model_copy(update={"files": files})
    monkeypatch.setattr(module, "card_of", lambda each: whole[each])


def test_a_file_is_right_or_another_dataset_or_cut_off_or_damaged_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, fashion = b"digits" * 1000, b"shirts" * 1000
    md5 = {data: hashlib.md5(data).hexdigest() for data in (right, fashion)}
    images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
    known(
        monkeypatch,
        "mnist",
        KnownFile(
            name=images, md5=md5[right], sha256=hashlib.sha256(right).hexdigest(), bytes=6000, source="torchvision"
        ),
        KnownFile(name=images, md5=md5[fashion], of="Fashion-MNIST", source="torchvision"),
        KnownFile(name=labels, sha256="0" * 64, source="tfds"),
    )
    task, raw = find("mnist"), tmp_path / "mnist/MNIST/raw"
    raw.mkdir(parents=True)
    found: dict[bytes, dict[str, str]] = {}
    for data in (right, fashion, right[:-7], right[:-1] + b"x", b""):
        (raw / images).write_bytes(data)
        rows = verify_files(task, str(tmp_path / "mnist"))
        found[data] = next(row for row in rows if row["file"] == images)
        assert states(rows)[labels] == "missing"
        assert wrong(rows, own=False) == ([] if data == right else [f"{raw / images}: {found[data]['what']}"])
    assert [row["state"] for row in found.values()] == ["ok", "other", "other", "other", "other"]
    assert found[fashion]["what"] == "is Fashion-MNIST's"
    assert found[right[:-7]]["what"] == "has 5,993 bytes of 6,000: it was cut off, get it anew"
    assert found[right[:-1] + b"x"]["what"] == "has other bytes than torchvision states, and none that are known"
    (raw / images).unlink()
    assert verify_files(task, str(tmp_path / "mnist")) == []  # a copy in another layout is none of those published


def test_a_file_under_a_wrong_name_is_named_by_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"a hundred classes"
    known(monkeypatch, "cifar100", KnownFile(name="train", md5=hashlib.md5(data).hexdigest(), source="torchvision"))
    (tmp_path / "cifar10/cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "cifar10/cifar-10-batches-py/test_batch").write_bytes(data)
    rows = verify_files(find("cifar10"), str(tmp_path / "cifar10"))
    assert [(row["state"], row["what"]) for row in rows if row["file"] == "test_batch"] == [
        ("other", "is cifar100's train")
    ]
    assert digests(str(tmp_path / "cifar10/cifar-10-batches-py/test_batch"))["sha256"] in named(
        [read_card(str(card_with(tmp_path, data)))]
    )


def card_with(home: Path, data: bytes) -> Path:
    card = home / "own.yaml"
    card.write_text(f"classes: [a, b]\nfiles: [{{name: x.tar, sha256: {hashlib.sha256(data).hexdigest()}}}]\n")
    return card


def test_a_download_that_changed_or_lost_a_file_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10.1"
    folder.mkdir()
    np.save(folder / "cifar10.1_v6_data.npy", np.zeros((2000, 32, 32, 3), np.uint8))
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(2000, dtype=np.int32) % 10)
    (folder / "notes.txt").write_text("as fetched")
    record: dict[str, Any] = {"repository": "a/b", "revision": "c" * 40, "files": {}}
    record["files"] = {
        "notes.txt": hashlib.sha256(b"as fetched").hexdigest(),
        "gone.tar": "0" * 64,
        "cifar10.1_v6_labels.npy": "1" * 64,
    }
    (folder / RECORD).write_text(json.dumps(record))
    (row,) = verify(str(tmp_path))
    by_fetch = {each["file"]: each["state"] for each in row["files"] if each["by"] == RECORD}
    assert by_fetch == {"notes.txt": "ok", "gone.tar": "missing", "cifar10.1_v6_labels.npy": "other"}
    assert row["status"] == "wrong"
    assert any(
        "gone.tar: was fetched from a/b at cccccccccccc and is gone; fetch it again" in each for each in row["problems"]
    )
    # The figures are right and the pixels are not: black pictures are not CIFAR-10.1's.
    assert any("cifar10.1_v6_data.npy: has other bytes than tfds states" in each for each in row["problems"])
    assert row["exact"]
    (row,) = verify(str(tmp_path), bytes_too=False)
    assert (row["status"], row["files"]) == ("ok", [])
    (folder / RECORD).write_text('{"files": {"../../etc/passwd": "00"}}')
    (row,) = verify(str(tmp_path))
    assert row["status"] == "wrong"


def shop(home: Path, more: str) -> str:
    for split, count in (("train", 2), ("test", 2)):
        for at, word in enumerate(("apple", "pear")):
            folder = home / "photos" / split / word
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (90 * at, 40 * number, 7)).save(folder / f"{number}.png")
    card = home / "shop.yaml"
    card.write_text(f"classes: [apple, pear]\nfolder: photos\nsplits: {{train: 4, test: 4}}\n{more}")
    return str(card)


def test_ones_own_card_states_hashes_that_evaluation_insists_on(checkpoint_folder: str, tmp_path: Path) -> None:
    card = shop(tmp_path, "")
    (row,) = verify(str(tmp_path), [card])
    hashes = {split: row["splits"][split]["hash"] for split in ("train", "test")}
    (tmp_path / "photos/list.txt").write_text("of the shop")
    files = f"files: [{{name: list.txt, md5: {hashlib.md5(b'of the shop').hexdigest()}}}]\n"
    card = shop(tmp_path, f"hashes: {json.dumps(hashes)}\n{files}")
    assert verify(str(tmp_path), [card])[0]["status"] == "ok"
    config = EvaluateConfig(tasks=("scenes-colour", card), protocols=("zero_shot",))
    assert evaluate(config, checkpoint_folder, str(tmp_path / "features")).absent == ()
    (tmp_path / "photos/test/pear/1.png").rename(tmp_path / "photos/test/apple/7.png")
    report = evaluate(config, checkpoint_folder, str(tmp_path / "features"))
    (lost,) = report.absent
    assert (lost["task"], lost["status"]) == ("shop", "broken")
    assert f"its card says {hashes['test'][:12]}: other pictures, or other labels" in lost["reason"]
    assert {score.task for score in report.scores} == {"scenes-colour"}
    (tmp_path / "photos/list.txt").unlink()
    problems = verify(str(tmp_path), [card])[0]["problems"]
    assert any("list.txt: not there" in each for each in problems)
    assert main(["tasks", "verify", str(tmp_path), card]) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "layouts: [imagefolder]\n",
            "layouts: there is no 'imagefolder'; did you mean image-folder? those known are web",
        ),
        (
            "layouts: [zzz]\n",
            "layouts: there is no 'zzz'; those known are webdataset, shards, parquet, table, metadata, image-folder, ",
        ),
        ("hashes: {test: abc}\n", "hashes.test: write 64 hexadecimal digits"),
        ("files: [{name: x.tar}]\n", "x.tar has neither md5 nor sha256; give one"),
        ("hashes: {test: %s}\nvariants: {a: {test: 4}}\n" % ("f" * 64), "has both splits and variants"),
        ("metric: roc\n", "metric: roc is none of"),
        ("loader: digits\n", "loader: is for what openwit draws itself"),
    ],
)
def test_a_mistake_in_ones_own_card_is_one_line_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, message: str
) -> None:
    card = shop(tmp_path, more)
    with pytest.raises(ConfigError) as caught:
        EvaluateConfig(tasks=(card,))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert main(["tasks", "verify", str(tmp_path), card]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("[yes, no]", "classes: write words, in quotes"),
        ("[1, 2]", "write words, in quotes"),
        ("[a, a]", "one is named twice"),
    ],
)
def test_classes_are_different_words(tmp_path: Path, classes: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(f"classes: {classes}\n")
    with pytest.raises(ConfigError, match=message):
        read_card(str(tmp_path / "own.yaml"))


def test_a_split_of_no_pictures_is_a_mistake_too(tmp_path: Path) -> None:
    card = Path(shop(tmp_path, ""))
    card.write_text(card.read_text().replace("test: 4", "test: 0"))
    with pytest.raises(ConfigError, match=r"splits\.test: Input should be greater than or equal to 1"):
        read_card(str(card))


def test_all_shipped_layouts_are_known() -> None:
    from evaluation.pictures.table import LAYOUTS

    for name in names():
        task = find(name)
        assert task.loader or any(layout in LAYOUTS for layout in task.layouts), name
