"""The step `score` in the chain: there only where scorers are named, known by content, a mistake before any work."""

import shutil
from pathlib import Path

import pytest

from orchestration.recipe import Recipe, load
from orchestration.steps import build_steps
from pipeline.code_version import imported_modules
from pipeline.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden_clip"


def recipe(folder: Path, more: str = "") -> Recipe:
    scorer = f"{{scorer: clip_similarity, checkpoint: {folder}{more}}}"
    return load("smoke", ["train=null", "evaluate=null", f"curate.score=[{scorer}]"])


def test_without_scorers_there_is_no_such_step() -> None:
    steps = {step.name: step for step in build_steps(load("smoke"))}
    assert "score" not in steps
    assert steps["deduplicate"].inputs == ("fetch",)


def test_it_stands_between_fetch_and_deduplicate_and_counts_in_the_manifest() -> None:
    steps = {step.name: step for step in build_steps(recipe(GOLDEN / "open_clip"))}
    names = list(steps)
    assert names[names.index("fetch") : names.index("fetch") + 3] == ["fetch", "score", "deduplicate"]
    assert steps["score"].inputs == ("fetch",)
    assert steps["deduplicate"].inputs == ("score",)
    assert "score" in steps["pack"].inputs


def test_the_place_of_a_checkpoint_changes_nothing_and_its_content_does(tmp_path: Path) -> None:
    def config(folder: Path, more: str = "") -> object:
        return next(step for step in build_steps(recipe(folder, more)) if step.name == "score").config

    shutil.copytree(GOLDEN / "open_clip", tmp_path / "copy")
    first = config(GOLDEN / "open_clip")
    assert config(tmp_path / "copy") == first
    assert str(tmp_path) not in str(first)
    assert config(tmp_path / "copy", ", gpus: 1, cpus: 4") == first
    assert config(tmp_path / "copy", ", minimum: 0.2") != first
    weights = tmp_path / "copy" / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert config(tmp_path / "copy") != first


def test_the_code_of_a_scorer_counts_in_the_step() -> None:
    assert "evaluation.models.scorers" in imported_modules("orchestration.scorer_table")
    assert "pipeline.scoring.score" in imported_modules("orchestration.scorer_table")


def test_a_scorer_that_cannot_work_is_told_before_any_work() -> None:
    with pytest.raises(ConfigError, match=r"curate.score.0.checkpoint: /nowhere: holds no checkpoint.json"):
        build_steps(recipe(Path("/nowhere")))
    with pytest.raises(ConfigError, match=r"minimum 0.9 is above maximum 0.1"):
        recipe(GOLDEN / "open_clip", ", minimum: 0.9, maximum: 0.1")
    with pytest.raises(ConfigError, match="minimun"):
        recipe(GOLDEN / "open_clip", ", minimun: 0.9")
