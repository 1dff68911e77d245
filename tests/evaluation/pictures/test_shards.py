"""openwit's own shards as a benchmark: pictures by their offset, captions and further columns of text."""

from pathlib import Path

import numpy as np
import pytest
from miniatures.canvas import colour, encoded

from evaluation.pictures.pictures import Absent, Broken
from evaluation.pictures.table import LAYOUTS
from pipeline.datasets.shards import write_dataset

SHARDS = LAYOUTS["shards"]


def dataset(folder: Path, numbers: range) -> None:
    rows = [(f"http://x/{n}.png", f"a picture of {n}", encoded(n, "PNG", 40)) for n in numbers]
    write_dataset(str(folder), rows, samples_per_shard=3, format="png")


def test_a_folder_with_a_manifest_is_a_test_part_and_folders_with_one_are_parts(tmp_path: Path) -> None:
    dataset(tmp_path / "alone", range(7))
    dataset(tmp_path / "parts" / "train", range(2))
    dataset(tmp_path / "parts" / "test", range(2, 6))
    assert SHARDS.splits(str(tmp_path / "alone")) == ("test",)
    assert SHARDS.splits(str(tmp_path / "parts")) == ("train", "test")
    with pytest.raises(Absent, match="shards has no split 'train'; it has test"):
        SHARDS.open(str(tmp_path / "alone"), "train")
    for folder, split, numbers in (
        ("alone", "test", range(7)),
        ("parts", "test", range(2, 6)),
        ("parts", "train", range(2)),
    ):
        pictures = SHARDS.open(str(tmp_path / folder), split)
        assert pictures.column("caption") == tuple(f"a picture of {n}" for n in numbers)
        assert set(pictures.column("format")) == {"png"}
        shades = [np.asarray(pictures.read(at))[20, 20] for at in range(pictures.count)]
        assert [tuple(shade) for shade in shades] == [colour(n) for n in numbers]
        assert pictures.stored is not None
        assert pictures.stored(0).startswith(b"\x89PNG")


def test_a_shard_that_is_gone_or_short_is_named(tmp_path: Path) -> None:
    dataset(tmp_path, range(4))
    shard = tmp_path / "00000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(Broken, match=r"00000.tar: [\d,]+ bytes, its manifest says"):
        SHARDS.open(str(tmp_path), "test")
    shard.unlink()
    with pytest.raises(Broken, match=r"00000.tar: missing"):
        SHARDS.open(str(tmp_path), "test")
