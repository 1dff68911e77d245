"""The step `references`: sets of one's own join a recipe by their content, never by where they lie."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.catalog.benchmarks import find
from evaluation.config import EvaluateConfig
from evaluation.pictures.open import open_pictures
from orchestration.recipe import Recipe
from orchestration.reference_step import carry_identities
from orchestration.step import Step
from orchestration.steps import build_steps
from pipeline import storage
from pipeline.config import CurateConfig
from pipeline.errors import ConfigError
from pipeline.execution.executor import InProcess
from pipeline.execution.progress import silent
from tests.evaluation.test_parts import shop


class Here:
    """A step's context in this process."""

    progress = staticmethod(silent)

    def executor(self) -> InProcess:
        return InProcess()


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


def test_another_copy_of_a_benchmark_is_described_anew(tmp_path: Path) -> None:
    card, draw = shop(tmp_path, "fruit"), np.random.default_rng(0)
    for path in sorted((tmp_path / "fruit").rglob("*.png")):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    asked = recipe().model_copy(update={"evaluate": EvaluateConfig(tasks=(card,))})

    def step() -> Step:
        return next(step for step in build_steps(asked) if step.name == "references")

    before = step()
    made = before.work(Here(), str(tmp_path / "made"))  # type: ignore[arg-type]
    assert made.facts["pictures"] == 4
    carry_identities(str(tmp_path / "made"), str(tmp_path / "data"))
    pictures = open_pictures(find(card), "test")
    assert storage.read_json(str(tmp_path / "data/overlap/identities.json")) == {"fruit": pictures.identity}
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "fruit/test/apple/0.png")
    assert dict(step().config) != dict(before.config)
