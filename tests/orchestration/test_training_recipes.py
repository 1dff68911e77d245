"""Recipes of trainings: what plan says of each, that each split over GPUs in its head fits, and what it asks for."""

import io
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from orchestration.cli import main
from orchestration.flow import plan
from orchestration.live import ended
from orchestration.recipe import load, shipped_recipes
from orchestration.recipe_file import SHIPPED
from orchestration.snapshot_estimate import print_snapshots, snapshot_estimate
from orchestration.steps import build_steps
from orchestration.training_estimate import SPARE, estimate_of, print_estimate, training_estimate
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.saving.checkpoint import Checkpoint, checksums, write_model
from training.saving.meanings import Meanings
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
    snapshots = snapshot_estimate(recipe.train, found["steps"], found["seconds"])
    assert snapshots is None or snapshots["keeps_up"], snapshots
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


def test_time_counts_what_stands_still_once_and_what_is_computed_again(capsys: pytest.CaptureFixture[str]) -> None:
    """The same batch in eight pieces is a third slower; a locked image tower makes it twice as fast."""

    def estimate(*sets: str) -> dict[str, Any]:
        train = load("clip-vit-b-16", list(sets)).train
        assert train is not None
        return training_estimate(train, 400_000_000)

    whole, cached = estimate("train.memory.chunks=1"), estimate("train.memory.chunks=8")
    assert cached["seconds"] == pytest.approx(whole["seconds"] * 4 / 3)
    assert cached["flops"] == whole["flops"]
    print_estimate(cached)
    assert "(train.watch.assumed_mfu), 33% more computed again to save memory\n" in capsys.readouterr().out
    locked = estimate("train.memory.chunks=1", "train.freeze=[image]", "train.start_from=elsewhere")
    spec = get_spec("clip-vit-b-16")
    saved = 2 * spec.image.flops() / (3 * spec.sample_flops())
    assert locked["seconds"] == pytest.approx(whole["seconds"] * (1 - saved))


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


def test_plan_tells_what_evaluation_while_training_costs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sets = ["train.watch.evaluate_every_steps=50", "train.watch.evaluate_protocols=[zero_shot]"]
    train = load("clip-vit-b-32", sets).train
    assert train is not None
    found = snapshot_estimate(train, 390_625, 36_000.0)
    assert found is not None
    assert (found["count"], found["pictures"], found["keeps_up"]) == (7812, 760, False)
    assert found["interval_seconds"] == pytest.approx(36_000 * 50 / 390_625)
    assert found["seconds_each"] == pytest.approx(760 * get_spec("clip-vit-b-32").image_flops() / 0.1e12, abs=0.1)
    said = [word for name in sets for word in ("--set", name)]
    assert main(["plan", "clip-vit-b-32", "--root", str(tmp_path), *said]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "7,812 snapshots, one each 50 steps (5 s), each measured in about 1 min by one CPU core (760 pictures)" in told
    )
    assert "passed over for newer ones: set train.watch.evaluate_every_steps=" in told
    few = snapshot_estimate(train, 49, 1.0)
    one = snapshot_estimate(train, 99, 1.0)
    assert few is not None
    assert one is not None
    assert (few["count"], few["keeps_up"], one["count"], one["keeps_up"]) == (0, True, 1, True)
    print_snapshots(few)
    assert (
        capsys.readouterr().out.strip() == "meanwhile  no snapshot is measured: train.watch.evaluate_every_steps is 50"
    )
    with_gpu = load("clip-vit-b-32", [*sets, "train.watch.evaluate_gpus=1"]).train
    assert with_gpu is not None
    on_gpu = snapshot_estimate(with_gpu, 390_625, 36_000.0)
    assert on_gpu is not None
    assert on_gpu["seconds_each"] < found["seconds_each"] / 10


def pairs(folder: Path, count: int = 12) -> str:
    sink = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(sink, "PNG")
    rows = [(f"http://x/{n}.png", f"number {n}", sink.getvalue()) for n in range(count)]
    write_dataset(str(folder), rows, samples_per_shard=6, format="png")
    return str(folder)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("clip-vit-b-32", "train.global_batch_size is 32,768 and the dataset has 12 pairs; set it to 12 or less"),
        ("vit-b-16", "its pictures have no labels, which vit-b-16-rep learns from"),
    ],
)
def test_plan_refuses_what_train_would_refuse(
    recipe: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = pairs(tmp_path / "set")
    for command in ("plan", "train"):
        assert main([command, recipe, "--root", str(tmp_path / "runs"), "--set", f"data={data}"]) == 2
        err = capsys.readouterr().err.strip()
        assert said in err.splitlines()[-1], command
        assert "Traceback" not in err


def test_plan_looks_at_the_model_to_start_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Refused as `train` refuses it where training could begin now; a line where the data is not there either."""
    root, none = ["--root", str(tmp_path / "runs")], f"train.start_from={tmp_path / 'none'}"
    small = [f"data={pairs(tmp_path / 'set')}", "train.global_batch_size=4", "train.workers=1", "train.memory.chunks=1"]
    small += ["train.warmup_steps=0", "train.steps=2"]
    for command in ("plan", "train"):
        assert (
            main([command, "clip-vit-b-32", *root, *(part for one in (none, *small) for part in ("--set", one))]) == 2
        )
        assert "none: holds no checkpoint.json" in capsys.readouterr().err.strip().splitlines()[-1], command
    assert main(["plan", "clip-vit-b-32", *root, "--set", none]) == 0
    assert "nothing is there yet" in capsys.readouterr().out
    spec = get_spec("vit-tiny-8")
    write_model(str(tmp_path / "vit"), spec.build().state_dict(), Meanings())
    Checkpoint(str(tmp_path / "vit"), spec, 1, 8, "none", {}, 1, checksums(str(tmp_path / "vit"))).save()
    assert main(["plan", "clip-vit-b-32", *root, "--set", f"train.start_from={tmp_path / 'vit'}"]) == 2
    assert "models that fit it: clip-tiny, clip-tiny-gap" in capsys.readouterr().err


def test_a_given_dataset_with_a_shard_that_is_cut_off_is_not_refused_before_it_is_trained_on(tmp_path: Path) -> None:
    """The training counts what is lost; without a training the manifest is taken at its word."""
    data = pairs(tmp_path / "set")
    shard = tmp_path / "set" / "00001.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    step = build_steps(load("clip-small", [f"data={data}"]))[0]
    assert step.work(None, "").facts["rows"] == 12  # type: ignore[arg-type]
    train = next(step for step in build_steps(load("clip-small", [f"data={data}"])) if step.name == "train")
    context = SimpleNamespace(records={"data": SimpleNamespace(folder=data)}, progress=None)
    with pytest.raises(DataError, match=r"00001\.tar: cut off, 3,000 of .* past train\.data\.max_broken_share 0\.01"):
        train.work(context, str(tmp_path / "out"))  # type: ignore[arg-type]
    (tmp_path / "set" / "00000.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"00000\.parquet: missing or changed"):
        step.work(None, "")  # type: ignore[arg-type]


def test_the_line_of_a_finished_training_says_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, said = pairs(tmp_path / "set"), list[str]()
    folder = tmp_path / "pictures"
    for number in range(12):
        (folder / "a").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), "red").save(folder / "a" / f"{number}.png")
        if number:
            (folder / "a" / f"{number}.txt").write_text("a text")
    sources = f"train.data.sources=[{{path: {data}}}, {{path: {folder}}}]"
    sets = [f"data={data}", sources, "train.global_batch_size=4", "train.warmup_steps=0"]
    step = next(step for step in build_steps(load("clip-small", sets)) if step.name == "train")
    monkeypatch.setattr("orchestration.launch.train_on_ray", lambda *settings: None)
    monkeypatch.setattr(Checkpoint, "load", lambda folder: SimpleNamespace(id="x", step=3, samples_seen=12))
    context = SimpleNamespace(
        records={"data": SimpleNamespace(folder=data)},
        progress=SimpleNamespace(say=said.append),
        connect=lambda: None,
        on_train_step=None,
        on_evaluation=None,
    )
    made = step.work(context, str(tmp_path / "out"))  # type: ignore[arg-type]
    assert said == ["train: 1 of 24 samples are left out: no_text"]
    assert made.facts == {"step": 3, "samples_seen": 12, "samples_kept": 23, "reasons": {"samples": {"no_text": 1}}}
    record = SimpleNamespace(name="train", facts=made.facts)
    assert ended(record) == "train: 23 samples; dropped: no_text 1"  # type: ignore[arg-type]


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
        (
            "clip-small",
            [
                "train.watch.evaluate_every_steps=5",
                "train.checkpoints.keep_best=1",
                "train.checkpoints.best_metric=digits/zero_shot/accuracy",
            ],
            "best_metric: there will be no digits/zero_shot/accuracy; did you mean digits/zero_shot/top1/ensemble? there will"
            " be loss, gradient_norm, accuracy_image_to_text, accuracy_text_to_image, digits/zero_shot/top1/ensemble,",
        ),
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
