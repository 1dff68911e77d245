"""The step `references`: sets of one's own join a recipe by their content, never by where they lie."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from orchestration.recipe import Recipe
from orchestration.steps import build_steps
from pipeline.config import CurateConfig
from pipeline.errors import ConfigError


def recipe(*paths: Path) -> Recipe:
    curate = {
        "sources": {"crawl": {"kind": "site", "seeds": ["http://a.example/"]}},
        "decontaminate": {"against": [str(path) for path in paths]},
    }
    return Recipe(name="t", curate=CurateConfig.model_validate(curate))


def steps(*paths: Path) -> dict[str, object]:
    return {step.name: (dict(step.config), step.inputs) for step in build_steps(recipe(*paths))}


def test_sets_are_known_by_content_and_a_recipe_without_any_has_no_index(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / str(number) / "birds").mkdir(parents=True)
        Image.new("RGB", (9 + number, 9)).save(tmp_path / str(number) / "birds" / "a.png")
    shutil.copytree(tmp_path / "0", tmp_path / "moved")
    assert "references" not in steps()
    here = steps(tmp_path / "0" / "birds")
    assert here["decontaminate"][1] == ("deduplicate", "references")  # type: ignore[index]
    assert here == steps(tmp_path / "moved" / "birds") != steps(tmp_path / "1" / "birds")
    assert str(tmp_path) not in str(here["references"]) + str(here["decontaminate"]) + str(here["pack"])


def test_a_set_that_is_not_there_stops_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"curate\.decontaminate\.against: .* holds no pictures"):
        steps(tmp_path / "missing")
