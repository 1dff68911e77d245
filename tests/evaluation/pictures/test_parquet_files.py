"""Parquet: parts of a numbered split that are gone, copies over each other, and configurations in folders of their own."""

import re
from pathlib import Path

import pytest
from miniatures import make
from miniatures.canvas import encoded
from miniatures.universal import huggingface

from evaluation.catalog.benchmarks import find
from evaluation.pictures.open import find_layout
from evaluation.pictures.pictures import Broken
from evaluation.pictures.table import LAYOUTS

PARQUET, CONFIG = LAYOUTS["parquet"], LAYOUTS["parquet-config"]


def shard(path: Path) -> None:
    images = [{"bytes": encoded(1, "PNG"), "path": None}]
    huggingface(path, {"image": images, "label": [0]}, {})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["test-00001-of-00003"], "lacks test-00000-of-00003.parquet, test-00002-of-00003.parquet, where 1 of 3 files"),
        (["data/test-0-of-2-00ff"], "lacks data/test-1-of-2.parquet, where 1 of 2 files"),
        (["test-00000-of-90000"], "test-00004-of-90000.parquet and 89,995 more, where 1 of 90,000 files"),
        (["test-0-of-99999999999999"], "and 99,999,999,999,994 more"),
        (["test/0000", "test/0002"], "lacks test/0001.parquet, where 2 of 3 files"),
        (["test/0001"], "lacks test/0000.parquet, where 1 of 2 files"),
        (["test-00000-of-00001", "test-00000-of-00002"], "test-*: files of 1 and of 2 lie there, as of two copies"),
        (["test-00000-of-00001", "test-00000-of-00001-ab"], "test-*: files of the same number lie there"),
        (["test/0000-of-0002"], "lacks test/0001-of-0002.parquet"),
    ],
)
def test_a_part_that_is_gone_is_named(names: list[str], said: str, tmp_path: Path) -> None:
    for name in names:
        shard(tmp_path / f"{name}.parquet")
    with pytest.raises(Broken, match=re.escape(said)) as raised:
        PARQUET.open(str(tmp_path), "test")
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "names",
    [
        ["test-00000-of-00001"],
        ["test-1-of-2", "test-2-of-2"],
        ["test"],
        ["test/0000", "test/0001"],
        ["test/3", "test/5"],
        ["test-00000-of-00001", "train-00001-of-00002"],
    ],
)
def test_what_is_whole_is_read(names: list[str], tmp_path: Path) -> None:
    """Also where another split lacks a part, and where numbers say nothing of how many there are."""
    for name in names:
        shard(tmp_path / f"{name}.parquet")
    assert PARQUET.open(str(tmp_path), "test").count == sum(name.startswith("test") for name in names)


def test_of_several_configurations_one_must_be_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "svhn"
    for config in ("cropped_digits", "full_numbers"):
        shard(folder / config / "test-00000-of-00001.parquet")
    assert find_layout(find("svhn"), str(tmp_path))[1].name == "parquet-config"
    for look in (CONFIG.splits, lambda at: CONFIG.open(at, "test")):
        with pytest.raises(Broken, match=r"svhn: has Parquet files in cropped_digits, full_numbers, of which one"):
            look(str(folder))
    shard(folder / "default" / "test" / "0000.parquet")
    assert find_layout(find("svhn"), str(tmp_path))[1].name == "parquet"


def test_a_configuration_comes_after_every_other_layout(tmp_path: Path) -> None:
    """Tables beside pictures are no dataset of pictures; of very many folders none is looked into."""
    make("image-folder", tmp_path / "pets")
    shard(tmp_path / "pets" / "features" / "test.parquet")
    assert find_layout(find("pets"), str(tmp_path))[1].name == "image-folder"
    for number in range(41):
        shard(tmp_path / "dtd" / str(number) / "test.parquet")
    with pytest.raises(Broken, match=r"in no layout that is known; expected labels/test1.txt .*in one folder below"):
        find_layout(find("dtd"), str(tmp_path))
