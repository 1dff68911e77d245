"""Classifiers and iGPT through `train`: labels from folders, a palette from the data, weights of an earlier run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.models.igpt import IGPT
from training.sampling import open_igpt
from training.saving.checkpoint import Checkpoint
from training.saving.conversion import export_model
from training.train import StepResult, train
from training.watching.replay import replay

SETTINGS: dict[str, Any] = {
    "global_batch_size": 8,
    "warmup_steps": 0,
    "learning_rate": 1e-3,
    "threads_per_worker": 1,
    "data": {"augmentation": "none"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight dark pictures and eight light ones of 8x8 pixels, a folder each."""
    draw = np.random.default_rng(0)
    for name, low in (("dark", 10), ("light", 200)):
        for number in range(8):
            path = tmp_path / "data" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(low, low + 40, (8, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


def above(data: Path) -> Path:
    """A folder that holds the folder of classes and nothing else."""
    (data.parent / "above data").mkdir()
    (data.parent / "above data" / "data").symlink_to(data)
    return data.parent / "above data"


def run(data: Path, out: Path, **values: Any) -> list[StepResult]:
    return list(train(TrainConfig.model_validate(SETTINGS | values), str(data), str(out)))


def test_igpt_learns_pixels_and_classes_and_hands_on_its_palette(folder: Path, tmp_path: Path) -> None:
    joint = {"kind": "joint", "generative": "masked_pixels"}
    results = run(folder, tmp_path / "a", model="igpt-tiny", steps=8, zero_stage=2, objective=joint)
    assert results[0].metrics["bits_per_pixel"] == pytest.approx(4, abs=0.01)
    assert results[-1].loss < results[0].loss - 0.1
    assert {"nats_per_pixel", "class_loss", "accuracy"} <= set(results[0].metrics)
    first = Checkpoint.load(str(tmp_path / "a" / "checkpoint"))
    assert first.spec.to_json()["classes"] == 2
    model = first.model()
    assert isinstance(model, IGPT)
    assert model.masked
    with pytest.raises(ConfigError, match="learned masked pixels, and never the next one"):
        open_igpt(first.folder)
    assert model.palette.min() >= 10
    assert model.palette.max() < 240  # the data's own colours and no others
    assert not ((model.palette > 60) & (model.palette < 190)).any()

    start = {"model": "igpt-tiny", "steps": 1, "start_from": str(tmp_path / "a" / "checkpoint")}
    run(folder, tmp_path / "b", **start)
    second = Checkpoint.load(str(tmp_path / "b" / "checkpoint")).model()
    assert isinstance(second, IGPT)
    assert second.class_head is None
    assert not second.masked
    assert torch.equal(second.palette, model.palette)
    masked = str(tmp_path / "m" / "checkpoint")
    run(folder, tmp_path / "m", model="igpt-tiny", steps=1, objective={"kind": "masked_pixels"})
    with pytest.raises(ConfigError, match="huggingface's ImageGPT looks back only"):
        export_model(masked, str(tmp_path / "there"), "huggingface")
    assert export_model(masked, str(tmp_path / "here"), "openwit")["largest_output_difference"] == 0
    with pytest.raises(ConfigError, match="other colours under weights"):
        run(folder, tmp_path / "c", objective={"palette": "mine.npy"}, **start)


@pytest.mark.parametrize(
    "values",
    [
        {"model": "vit-tiny-8", "objective": {"mixup_alpha": 0.4, "label_smoothing": 0.1}},
        {"model": "vit-tiny-8", "objective": {"mixup_alpha": 0.4}, "memory": {"chunks": 2}},
        {"model": "igpt-tiny", "objective": {"kind": "masked_pixels"}},
        {"model": "igpt-tiny", "objective": {"kind": "joint", "generative": "masked_pixels"}, "memory": {"chunks": 2}},
    ],
)
def test_a_replay_blames_the_samples_for_the_loss_that_the_step_had(
    values: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    losses = [result.loss for result in run(folder, tmp_path / "a", steps=4, checkpoints={"every_steps": 2}, **values)]
    found = replay(str(tmp_path / "a"), str(folder), 3)
    assert (found.from_step, found.loss) == (2, pytest.approx(losses[2], rel=1e-6))
    assert len(found.samples) == 8
    assert np.mean([each.loss for each in found.samples]) == pytest.approx(found.loss, rel=1e-5)


def test_vit_learns_the_classes_of_folders_and_needs_some(folder: Path, tmp_path: Path) -> None:
    chosen = {"mixup_alpha": 0.2, "label_smoothing": 0.1}
    results = run(folder, tmp_path / "a", model="vit-tiny-8", steps=12, objective=chosen)
    assert results[-1].metrics["accuracy"] == 1.0
    done = Checkpoint.load(str(tmp_path / "a" / "checkpoint"))
    assert done.spec.to_json()["classes"] == 2
    assert done.classes() == tuple(sorted({path.parent.name for path in folder.rglob("*.png")}))
    with pytest.raises(DataError, match=r"are of one class, 'data', so there is nothing to tell apart; name another"):
        run(above(folder), tmp_path / "c", model="vit-tiny-8", steps=2)
    bare = tmp_path / "bare"
    bare.mkdir()
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(bare / f"{number}.png")
    with pytest.raises(DataError, match=r"have no labels, which vit-tiny-8 learns from"):
        run(bare, tmp_path / "c", model="vit-tiny-8", steps=2)


def test_lora_gives_new_classes_a_head_that_learns_is_merged_averaged_and_resumed(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "a", model="vit-tiny-8", steps=2)
    shutil.copytree(folder / "dark", folder / "third")  # another number of classes: the head begins anew, at zero
    values: dict[str, Any] = {
        "model": "vit-tiny-8",
        "steps": 5,
        "zero_stage": 3,
        "learning_rate": 1e-2,
        "start_from": str(tmp_path / "a" / "checkpoint"),
        "optimizer": {"ema_decay": 0.5, "lora": {"rank": 2}},
        "checkpoints": {"every_steps": 3, "asynchronous": False},
    }
    results = run(folder, tmp_path / "b", **values)
    assert results[0].loss == pytest.approx(np.log(3), abs=1e-5)
    assert results[0].gradient_norm > 0
    assert results[-1].loss < results[0].loss - 0.1
    start = Checkpoint.load(str(tmp_path / "a" / "checkpoint")).weights()
    done = Checkpoint.load(str(tmp_path / "b" / "checkpoint"))
    weights, average = done.weights(), done.weights(averaged=True)
    moved = {
        name
        for name, value in weights.items()
        if value.shape != start[name].shape or not torch.equal(value, start[name])
    }
    layers = ("in_proj.weight", "out_proj.weight", "c_fc.weight", "c_proj.weight")
    assert moved == {name for name in start if name.endswith(layers) or name.startswith("head.")}
    assert set(average) == set(weights)
    assert {name for name in weights if not torch.equal(weights[name], average[name])} == moved
    # What was killed after three steps ends as what was left alone, the head's moments and the average included.
    going = train(TrainConfig.model_validate(SETTINGS | values), str(folder), str(tmp_path / "c"))
    for _ in range(4):
        next(going)
    going.close()
    assert [result.step for result in run(folder, tmp_path / "c", **values)] == [4, 5]
    assert Checkpoint.load(str(tmp_path / "c" / "checkpoint")).id == done.id


def test_a_run_whose_first_gradient_is_zero_stops(folder: Path, tmp_path: Path) -> None:
    """A head of zeros that stands still lets no gradient through to what is before it."""
    with pytest.raises(ConfigError, match=r"step 1: loss 0\.69.* a gradient of exactly 0.*change train\.freeze head"):
        run(folder, tmp_path / "a", model="vit-tiny-8", steps=2, freeze=["head"])
