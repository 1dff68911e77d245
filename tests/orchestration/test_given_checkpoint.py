"""A given checkpoint that was trained on and saved again: same names, same sizes, and another step. Times never count."""

import os
import shutil
from pathlib import Path

import numpy as np
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


def test_a_model_of_ones_own_is_told_by_its_weights_too(tmp_path: Path) -> None:
    """The file stays as it is, and what it reads does not: another step."""
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import numpy as np\n"
        "class Mine:\n"
        "    name, side = 'mine', 4\n"
        "    def images(self, pixels):\n"
        f"        return pixels.reshape(len(pixels), -1)[:, :3] * np.load('{tmp_path}/weights.npy')\n"
        "def load():\n"
        "    return Mine()\n"
    )
    np.save(tmp_path / "weights.npy", np.ones(3))
    before = files_of(tmp_path, Path(f"{mine}:load"))
    assert files_of(tmp_path, Path(f"{mine}:load")) == before
    np.save(tmp_path / "weights.npy", np.full(3, 1.0001))
    assert files_of(tmp_path, Path(f"{mine}:load")) != before
