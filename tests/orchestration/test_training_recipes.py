"""Recipes of trainings: what plan says of each, that each split over GPUs in its head fits, and what it asks for."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from orchestration.cli import main
from orchestration.flow import plan
from orchestration.recipe import load, shipped_recipes
from orchestration.recipe_file import SHIPPED
from orchestration.steps import build_steps
from orchestration.training_estimate import SPARE, estimate_of, print_estimate, training_estimate
from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.spec import get_spec
from training.watching.cards import CARDS

TRAINING = [name for name in shipped_recipes() if load(name).train is not None]
PAPERS = ["clip-rn50", "clip-vit-b-16", "clip-vit-b-32", "clip-vit-l-14", "clip-vit-l-14-336", "igpt-s", "vit-b-16"]
SPLITS = [
    (name, int(gpus), tuple(shlex.split(sets)[1::2]))
    for name in TRAINING
    for gpus, sets in re.findall(r"^# (\d+) GPUs +(--set .+)$", (SHIPPED / f"{name}.yaml").read_text("utf-8"), re.M)
]


def test_each_recipe_of_a_paper_has_its_splits() -> None:
    assert set(PAPERS) < set(TRAINING)
    found = {name: [gpus for each, gpus, _ in SPLITS if each == name] for name in PAPERS}
    assert found == {name: [8, 64, 256] for name in PAPERS}


@pytest.mark.parametrize(("name", "gpus", "sets"), SPLITS)
def test_a_split_in_a_recipes_head_shares_the_batch_over_its_gpus_and_fits(
    name: str, gpus: int, sets: tuple[str, ...]
) -> None:
    recipe = load(name, sets)
    assert recipe.train is not None
    found = training_estimate(recipe.train, recipe.expects.rows if recipe.expects else None)
    assert found["workers"] == gpus
    assert found["fits"], found["memory_gib"]
    if not any("global_batch_size" in each for each in sets):
        assert gpus * found["samples_per_worker"] == load(name).train.global_batch_size  # type: ignore[union-attr]


@pytest.mark.parametrize("name", TRAINING)
def test_plan_tells_time_and_memory_of_each_training_without_its_data(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    found = estimate_of(recipe, plan(recipe, str(tmp_path)))
    assert found is not None
    assert found["seconds"] > 0
    assert 0 < sum(found["memory_gib"].values()) < found["card_gib"]
    assert list(tmp_path.iterdir()) == []


def test_the_estimate_of_clip_is_its_closed_form() -> None:
    recipe = load("clip-vit-b-32")
    assert recipe.train is not None
    found = training_estimate(recipe.train, 400_000_000)
    spec = get_spec("clip-vit-b-32")
    assert found["steps"] == 390_625
    assert found["samples"] == 12_800_000_000
    seconds = 12.8e9 * 3 * spec.sample_flops() / (64 * 989e12 * 0.25)
    assert found["seconds"] == pytest.approx(seconds, rel=1e-6)
    assert found["gpu_days"] == pytest.approx(64 * seconds / 86_400, abs=1e-3)
    # open_clip's 192 A100 GPU-days at its 11.2 % MFU (facts: docs/PRETRAINED.md), by the same form within a tenth.
    theirs = load("clip-vit-b-32", ["train.watch.card=a100", "train.watch.assumed_mfu=0.112"]).train
    assert theirs is not None
    assert training_estimate(theirs, 400_000_000)["gpu_days"] == pytest.approx(192, rel=0.1)
    assert SPARE > 1
    assert CARDS["a100"].peak_flops("bfloat16") == 312e12


def test_what_is_too_much_is_told_with_a_way_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sets = ["--set", "train.workers=8", "--set", "train.memory.chunks=1"]
    assert main(["plan", "clip-vit-b-16", "--root", str(tmp_path), *sets]) == 0
    said = capsys.readouterr().out
    assert "too much" in said
    assert "raise train.memory.chunks or train.workers" in said
    assert main(["plan", "clip-vit-b-16", "--root", str(tmp_path), "--json", *sets]) == 0
    told = json.loads(capsys.readouterr().out)["training"]
    assert told["fits"] is False
    assert TrainConfig.model_validate(told["config"]) == load("clip-vit-b-16", sets[1::2]).train  # what torchrun takes


def test_plan_tells_time_in_units_that_fit_and_which_card_it_took(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A laptop's training is no 0.0 GPU-days of a card that nobody named."""
    sets = ["--set", "train.steps=100", "--set", "train.watch.card=cpu", "--set", "train.workers=2"]
    estimate = training_estimate(load("smoke", sets[1::2]).train, None)  # type: ignore[arg-type]
    assert main(["plan", "smoke", "--root", str(tmp_path), *sets]) == 0
    said = capsys.readouterr().out
    assert f"time     {estimate['seconds']:.1f} seconds, {2 * estimate['seconds']:.1f} CPU-seconds; " in said
    assert "card     2 x cpu (train.watch.card)\n" in said
    assert 0 < estimate["gpu_days"] == pytest.approx(2 * estimate["seconds"] / 86_400, rel=1e-3)
    assert re.search(r"memory +\d\d+ MiB per worker of 8 GiB \(", said)
    print_estimate(training_estimate(load("clip-vit-b-32").train, 400_000_000))  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert "10.0 hours, 26.6 GPU-days; " in told
    assert "card     64 x h100, assumed; for another --set train.watch.card=NAME: b200, " in told


def test_a_training_whose_length_hangs_on_unknown_data_says_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("extends: smoke\nname: own\ntrain: {steps: null, epochs: 3}\n")
    recipe = load(str(path))
    found = estimate_of(recipe, plan(recipe, str(tmp_path / "runs")))
    assert found is not None
    assert found["seconds"] is None
    assert found["samples_per_second"] > 0


def test_a_run_wants_the_dataset_named_before_anything_begins() -> None:
    with pytest.raises(ConfigError, match=r"clip-small: name its dataset: --set data=FOLDER, of pairs") as caught:
        build_steps(load("clip-small"))
    assert "\n" not in str(caught.value)


def test_data_may_be_pictures_in_folders_or_tars_without_a_manifest(tmp_path: Path) -> None:
    """Another file, or another size of one, is other data."""
    folder = tmp_path / "pictures"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (9, 9), (name == "cat" and "red") or "blue").save(folder / name / "1.png")
    step = build_steps(load("vit-b-16", [f"data={folder}"]))[0]
    assert step.name == "data"
    made = step.work(None, "")  # type: ignore[arg-type]  # it asks nothing of its surroundings
    assert made.facts == {"folder": str(folder), "rows": 2}
    before = step.config
    assert build_steps(load("vit-b-16", [f"data={folder}"]))[0].config == before
    Image.new("RGB", (90, 9), "green").save(folder / "dog" / "2.png")
    assert build_steps(load("vit-b-16", [f"data={folder}"]))[0].config != before
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no manifest.json, no .tar and no pictures"):
        build_steps(load("vit-b-16", [f"data={tmp_path}/empty"]))


def test_sources_of_the_training_itself_need_no_data(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("extends: vit-b-16\nname: own\nexpects: null\ntrain: {data: {sources: [{path: /a}, {path: /b}]}}\n")
    assert next(step.name for step in build_steps(load(str(path)))) == "train"
    path.write_text("extends: vit-b-16\nname: own\nexpects: null\n")
    with pytest.raises(ConfigError, match="train has no dataset; add curate, or data:"):
        load(str(path))


def test_how_a_model_is_trained_is_no_other_training(tmp_path: Path) -> None:
    """Other workers, launches, watches and checkpoints go on in the same folder; another learning rate does not."""

    def train_config(*sets: str) -> object:
        return next(step.config for step in build_steps(load("demo", sets)) if step.name == "train")

    same = ("train.workers=4", "train.launch.max_failures=9", "train.watch.evaluate_every_steps=5")
    assert train_config() == train_config(*same, "train.checkpoints.keep=5")
    assert train_config() != train_config("train.learning_rate=0.5")


@pytest.mark.parametrize(
    ("name", "sets", "said"),
    [
        (
            "igpt-s",
            ["evaluate.protocols=[zero_shot]"],
            "zero_shot needs a model that reads text and igpt-s is of family igpt",
        ),
        ("igpt-s", ["train.watch.evaluate_protocols=[zero_shot]"], "zero_shot needs a model that reads text"),
        (
            "igpt-s",
            ["train.objective.kind=contrastive"],
            "objective.kind is contrastive and the model is of family igpt",
        ),
        ("clip-small", ["train.launch.minimum_workers=2"], "launch.minimum_workers is 2 and workers 1"),
        ("clip-small", ["train.watch.card=h1000"], "'h1000' is no card that is known here"),
    ],
)
def test_what_cannot_be_is_one_line(name: str, sets: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(name, sets)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_are_listed_by_family_with_memory_per_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json", "--family", "igpt", "--workers", "64", "--batch-per-worker", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["family"] for row in rows} == {"igpt"}
    for row in rows:
        stages = row["memory_gib"]
        assert list(stages) == ["0", "1", "2", "3"]
        if row["parameters_millions"] > 100:
            assert stages["0"] > stages["1"] > stages["2"] > stages["3"] > 0
    assert main(["models", "--family", "gan"]) == 2
    assert "--family gan: there is none; the families are clip" in capsys.readouterr().err
