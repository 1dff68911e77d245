"""openwit sample: sheets of new pictures and of completions, and one line for what cannot be drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from orchestration.cli import main
from training.models.igpt import IGPT
from training.saving.checkpoint import Checkpoint, checksums, write_model
from training.saving.meanings import Meanings
from training.spec import REGISTRY, build

LARGER = 9
"""How many times as large as it is a picture of 8 pixels is drawn."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An iGPT that nobody trained, with a palette of greys: it draws any of them."""
    torch.manual_seed(0)
    model = build(REGISTRY["igpt-tiny"])
    assert isinstance(model, IGPT)
    model.set_palette(torch.arange(16)[:, None].expand(16, 3) * 10.0)
    folder = str(tmp_path_factory.mktemp("igpt"))
    write_model(folder, model.state_dict(), Meanings())
    Checkpoint(folder, model.spec, 1, 1, "none", {}, 1, checksums(folder)).save()
    return folder


def sheet(path: Path) -> np.ndarray:
    """One number per pixel of the pictures and their frames."""
    with Image.open(path) as picture:
        return np.asarray(picture)[::LARGER, ::LARGER, 0].astype(int)


def test_new_pictures_are_of_the_palette_and_depend_on_the_seed_alone(checkpoint: str, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert (
            main(["sample", checkpoint, "--out", str(tmp_path / f"{name}.png"), "--count", "3", "--seed", str(seed)])
            == 0
        )
    first, again, other = (sheet(tmp_path / f"{name}.png") for name in "abc")
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (20, 20)  # three pictures of 8 with a frame of 1, in a grid of two by two
    assert set(first[1:9, 1:9].ravel()) <= set(range(0, 160, 10))
    assert (first[10:, 10:] == 128).all()


def test_a_completion_keeps_the_rows_that_were_given(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greys = np.random.default_rng(0).integers(0, 16, (8, 8)) * 10
    Image.fromarray(np.repeat(greys[:, :, None], 3, axis=2).astype(np.uint8)).save(tmp_path / "given.png")
    words = ["--complete", str(tmp_path / "given.png"), "--rows", "5", "--count", "2", "--temperature", "2"]
    assert main(["sample", checkpoint, "--out", str(tmp_path / "out.png"), *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"], found["rows_given"], found["model"]) == (2, 5, "igpt-tiny")
    truth, given, one, two = (sheet(tmp_path / "out.png")[1:9, left : left + 8] for left in (1, 11, 21, 31))
    assert np.array_equal(truth, greys)
    assert (given[5:] == 128).all()
    for drawn in (given, one, two):
        assert np.array_equal(drawn[:5], greys[:5])
    assert not np.array_equal(one[5:], two[5:])


def test_what_cannot_be_drawn_is_one_line(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no picture")
    out = str(tmp_path / "out.png")
    for words, line in (
        ([out, "--complete", str(tmp_path / "text.png")], "text.png: no picture; give a picture"),
        ([out, "--complete", str(tmp_path / "gone.png")], "gone.png: cannot be read (No such file or directory)"),
        ([out, "--complete", str(tmp_path / "text.png"), "--rows", "9"], "has pictures of 8 rows; give fewer"),
        ([out, "--rows", "3"], "is of pictures to complete; name them with --complete"),
        ([out, "--top-k", "17"], "has 16 colours; give fewer"),
        ([str(tmp_path / "out.jpg")], "give a name that ends with .png"),
    ):
        assert main(["sample", checkpoint, "--out", *words]) == 2
        said = capsys.readouterr().err
        assert line in said
        assert said.count("\n") == 1
    assert not Path(out).exists()
