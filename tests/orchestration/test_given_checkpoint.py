"""A given checkpoint that was trained on and saved again: same names, same sizes, and another step. Times never count."""

import os
import shutil
from pathlib import Path

import pytest

from orchestration.recipe import load
from orchestration.steps import build_steps

GOLDEN = Path(__file__).parents[1] / "golden_clip"


def files_of(above: Path, place: Path) -> object:
    recipe = above / "mine.yaml"
    recipe.write_text(f"name: mine\ncheckpoint: {place}\nevaluate:\n  tasks: [digits]\n")
    return next(step for step in build_steps(load(str(recipe))) if step.name == "checkpoint").config["files"]


@pytest.mark.parametrize("alone", [False, True])
def test_weights_of_the_same_size_are_another_checkpoint(alone: bool, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "open_clip", folder)
    weights = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    place = weights if alone else folder
    before = files_of(tmp_path, place)
    os.utime(weights, (1, 1))
    assert files_of(tmp_path, place) == before
    content = weights.read_bytes()
    weights.write_bytes(content[:-8] + bytes(8 * [7]))
    assert files_of(tmp_path, place) != before
    weights.write_bytes(content)
    assert files_of(tmp_path, place) == before
