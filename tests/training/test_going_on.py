"""Runs that go on from other runs: longer ones, branches, other classes, a tower of another family; and what is refused so that
no finished model is written over."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.models.classifier import Classifier
from training.models.clip import CLIP
from training.run import read_steps
from training.run import run as run_recorded
from training.saving.checkpoint import Checkpoint, checksums, write_model
from training.saving.meanings import Meanings
from training.specs.vit import VitSpec
from training.tokens import clip_vocabulary
from training.tokens.tokenizer import Tokenizer
from training.train import StepResult, train
from training.watching.replay import replay

SETTINGS: dict[str, Any] = {
    "model": "vit-tiny-8",
    "global_batch_size": 8,
    "warmup_steps": 0,
    "learning_rate": 1e-3,
    "threads_per_worker": 1,
    "data": {"augmentation": "none"},
}
TEXT = {"model": "clip-tiny", "vocabulary_size": 270, "context_length": 6}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight dark pictures and eight light ones of 32x32 pixels, a folder each, with captions."""
    draw = np.random.default_rng(0)
    for name, low in (("dark", 10), ("light", 200)):
        for number in range(8):
            path = tmp_path / "data" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(low, low + 40, (32, 32, 3), dtype=np.uint8)).save(path)
            path.with_suffix(".txt").write_text(f"{name} {number}", "utf-8")
    return tmp_path / "data"


def run(data: Path, out: Path, said: list[str] | None = None, **values: Any) -> list[StepResult]:
    config = TrainConfig.model_validate(SETTINGS | values)
    return list(train(config, str(data), str(out), say=said.append if said is not None else lambda line: None))


def losses(results: list[StepResult]) -> list[tuple[int, float, float]]:
    return [(result.step, result.loss, result.learning_rate) for result in results]


def test_no_finished_model_is_written_over_by_another_run(data: Path, tmp_path: Path) -> None:
    """Neither leaves anything to resume from: what is finished says itself what it was trained with."""
    out = tmp_path / "out"
    run(data, out, steps=2)
    kept = Checkpoint.load(str(out / "checkpoint")).id
    for values, line in (
        ({"steps": 3}, r"no checkpoint that 3 steps of schedule cosine .* prolong schedule rsqrt or constant"),
        (
            {"steps": 2, "learning_rate": 1e-4},
            r"trained with learning_rate 0.001 and this run has 0.0001; choose another",
        ),
        ({"steps": 2} | TEXT, r"was trained with context_length 77 and this run has 6; choose another folder"),
        ({"steps": 1, "schedule": "cosine"}, r"finished model of 2 steps and this run has 1 of another plan"),
    ):
        with pytest.raises(ConfigError, match=line):
            run(data, out, **values)
    assert Checkpoint.load(str(out / "checkpoint")).id == kept
    assert run(data, out, steps=2) == []


def test_data_that_moved_is_the_same_data(data: Path, tmp_path: Path) -> None:
    """The same bytes at another place, named in another way: the run goes on, and a finished one is finished."""
    out, moved = tmp_path / "out", tmp_path / "elsewhere"
    settings: dict[str, Any] = {"schedule": "constant", "checkpoints": {"every_steps": 2, "keep": 9}}
    run(data, out, steps=3, **settings)
    whole = losses(run(data, tmp_path / "whole", steps=4, **settings))
    data.rename(moved)
    named = SETTINGS | settings | {"data": {"augmentation": "none", "sources": [{"path": str(moved)}]}}

    def again(steps: int) -> list[StepResult]:
        return list(train(TrainConfig.model_validate(named | {"steps": steps}), "", str(out)))

    assert again(3) == []
    assert losses(again(4)) == whole[3:]
    (moved / "dark" / "0.txt").write_text("another text", "utf-8")
    (moved / "dark" / "0.png").write_bytes((moved / "light" / "0.png").read_bytes())
    with pytest.raises(ConfigError, match="another dataset"):
        again(5)


def test_a_run_is_prolonged_and_branched_as_if_planned_so(data: Path, tmp_path: Path) -> None:
    rsqrt = {"schedule": "rsqrt", "rsqrt_timescale_steps": 3, "checkpoints": {"every_steps": 2}}
    whole = run(data, tmp_path / "whole", steps=7, **rsqrt)
    cooled = run(data, tmp_path / "cooled", steps=6, cooldown_steps=3, **rsqrt)

    first = run(data, tmp_path / "out", steps=3, **rsqrt)
    more = run(data, tmp_path / "out", steps=7, **rsqrt)
    assert losses(first + more) == losses(whole)
    assert [result.step for result in more] == [4, 5, 6, 7]  # its last step's moments were kept
    weights = Checkpoint.load(str(tmp_path / "whole" / "checkpoint")).weights()
    for name, value in Checkpoint.load(str(tmp_path / "out" / "checkpoint")).weights().items():
        assert torch.equal(value, weights[name]), name

    branch = {"start_from": str(tmp_path / "out"), "start_from_state": True, "zero_stage": 0}
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "000000006", tmp_path / "six")
    with pytest.raises(
        ConfigError, match="six has no checkpoint that 6 steps of schedule rsqrt with cooldown_steps 3 go on from"
    ):
        run(data, tmp_path / "no", steps=6, cooldown_steps=3, **rsqrt, **branch | {"start_from": str(tmp_path / "six")})
    with pytest.raises(ConfigError, match="is a finished model without moments"):
        run(data, tmp_path / "no", steps=9, **rsqrt, **branch | {"start_from": str(tmp_path / "out" / "checkpoint")})
    with pytest.raises(ConfigError, match=r"trained with learning_rate 0\.001 and this run has 1\.0"):
        run(data, tmp_path / "no", steps=9, learning_rate=1.0, **rsqrt, **branch)
    run(data, tmp_path / "base", steps=3, **rsqrt)
    values = {"steps": 6, "cooldown_steps": 3} | rsqrt | branch | {"start_from": str(tmp_path / "base")}
    run_recorded(TrainConfig.model_validate(SETTINGS | values), str(data), str(tmp_path / "branch"), is_first=True)
    made = read_steps(str(tmp_path / "branch"))
    assert [result.step for result in made] == [4, 5, 6]
    np.testing.assert_allclose(losses(made), losses(cooled[3:]), rtol=1e-5)  # under another ZeRO stage
    assert replay(str(tmp_path / "branch"), str(data), 5).loss == made[1].loss
    with pytest.raises(ConfigError, match=r"--step 2: .* begins with step 4; replay that run, or give a later step"):
        replay(str(tmp_path / "branch"), str(data), 2)


def test_a_head_of_other_classes_begins_anew_though_they_are_as_many(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "a", steps=8)
    start = {"start_from": str(tmp_path / "a" / "checkpoint"), "steps": 1}
    said: list[str] = []
    assert run(data, tmp_path / "same", said, **start)[0].metrics["accuracy"] == 1
    assert said == []
    (data / "dark").rename(data / "x")
    (data / "light").rename(data / "b")
    first = run(data, tmp_path / "others", said, **start)[0]
    assert first.loss == pytest.approx(np.log(2), abs=1e-6)
    assert [line.split(": ", 1)[1] for line in said] == [
        "its 2 classes (dark, light) are others than the data's; the head begins anew"
    ]
    # The same names in another order, as others' models have them: rows go over by name.
    classes = tmp_path / "a" / "checkpoint" / "classes.json"
    old = Checkpoint.load(str(tmp_path / "a" / "checkpoint"))
    assert json.loads(classes.read_text()) == ["dark", "light"]
    (data / "x").rename(data / "dark")
    (data / "b").rename(data / "light")
    turned = tmp_path / "turned"
    weights = old.weights()
    weights |= {name: weights[name].flip(0) for name in ("head.weight", "head.bias")}
    write_model(str(turned), weights, Meanings(None, ("light", "dark")))
    Checkpoint(str(turned), old.spec, 8, 64, old.manifest_id, old.config, 1, checksums(str(turned))).save()
    assert run(data, tmp_path / "again", **start | {"start_from": str(turned)})[0].metrics["accuracy"] == 1
    # The same classes, read from a layer that this model has not (pre-training's, arXiv:2010.11929, section 3.1).
    assert isinstance(old.spec, VitSpec)
    deep = replace(old.spec, representation=128)
    layer = {"representation.weight": torch.eye(128), "representation.bias": torch.zeros(128)}
    write_model(str(turned), old.weights() | layer, old.meanings())
    Checkpoint(str(turned), deep, 8, 64, old.manifest_id, old.config, 1, checksums(str(turned))).save()
    said.clear()
    begun = run(data, tmp_path / "shallow", said, **start | {"start_from": str(turned)})
    assert begun[0].loss == pytest.approx(math.log(2))
    assert said[0].endswith(
        "are read from a layer before them, and this model's from the features; the head begins anew"
    )


def test_a_tower_goes_from_one_family_to_another_and_computes_what_it_did(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "vit", steps=2)
    vit = str(tmp_path / "vit" / "checkpoint")
    run(data, tmp_path / "lit", **TEXT, steps=2, start_from=vit, freeze=["image"])
    pixels = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    taught, locked = Checkpoint.load(vit).model(), Checkpoint.load(str(tmp_path / "lit" / "checkpoint")).model()
    assert isinstance(locked, CLIP)
    assert torch.equal(locked.image_features(pixels), taught.image_features(pixels))

    run(data, tmp_path / "clip", **TEXT, steps=2)
    clip = Checkpoint.load(str(tmp_path / "clip" / "checkpoint"))
    run(data, tmp_path / "back", steps=1, learning_rate=1e-30, weight_decay=0.0, start_from=clip.folder)
    back = Checkpoint.load(str(tmp_path / "back" / "checkpoint")).model()
    assert isinstance(back, Classifier)
    assert torch.equal(back.image_features(pixels), clip.model().image_features(pixels))

    run(data, tmp_path / "map", steps=1, model="vit-tiny-8-map")
    for values, start, line in (
        (TEXT, "map", r"its pool is attention, .* of another model \(no clip model fits it\)"),
        (
            {"model": "vit-s-16"},
            "clip",
            r"its image.patch is 8, that of vit-s-16 is 16.*\(models that fit it: vit-tiny-8\)",
        ),
        (
            TEXT | {"model": "clip-tiny-rn"},
            "vit",
            r"image\.kind is vit, that of clip-tiny-rn is resnet.* \(models that fit it: clip-tiny, clip-tiny-gap, clip-tiny-bow\)",
        ),
    ):
        with pytest.raises(ConfigError, match=line):
            run(data, tmp_path / "no", steps=1, start_from=str(tmp_path / start / "checkpoint"), **values)


def test_a_run_goes_on_with_the_words_that_it_began_with(data: Path, tmp_path: Path) -> None:
    """Another version of the tokenizers library may learn other merges of the same captions; the token table knows the old ones."""
    out, saved = tmp_path / "out", tmp_path / "out" / "checkpoints" / "000000002"
    config = TrainConfig.model_validate(SETTINGS | TEXT | {"steps": 4, "checkpoints": {"every_steps": 2}})
    running = train(config, str(data), str(out))
    assert [next(running).step for _ in range(3)] == [1, 2, 3]
    running.close()  # type: ignore[attr-defined]  # train is a generator
    first = Tokenizer.train(["of another library"] * 3, 270, 6)
    assert first.to_bytes() != Checkpoint.load(str(saved)).tokenizer().to_bytes()
    first.save(str(saved / "tokenizer.json"))
    replace(Checkpoint.load(str(saved), verify=False), files=checksums(str(saved))).save()
    assert [result.step for result in train(config, str(data), str(out))] == [3, 4]
    assert Checkpoint.load(str(out / "checkpoint")).tokenizer().to_bytes() == first.to_bytes()


def test_a_model_to_start_from_that_moved_is_the_same_and_another_is_not(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "base", steps=1)
    run(data, tmp_path / "other", steps=2)
    each = {"steps": 3, "checkpoints": {"every_steps": 1}}
    whole = run(data, tmp_path / "whole", **each, start_from=str(tmp_path / "base" / "checkpoint"))
    shutil.rmtree(tmp_path / "whole" / "checkpoint")  # as if it had been killed before its end
    shutil.move(tmp_path / "base", tmp_path / "moved")
    again = run(data, tmp_path / "whole", **each, start_from=str(tmp_path / "moved" / "checkpoint"))
    assert losses(again) == losses(whole)[2:]
    refused = r"was trained with start_from .*moved.* and this run has .*other.*; choose another folder"
    with pytest.raises(ConfigError, match=refused):
        run(data, tmp_path / "whole", **each, start_from=str(tmp_path / "other" / "checkpoint"))


def test_a_palette_that_moved_is_the_same_and_another_is_not(data: Path, tmp_path: Path) -> None:
    def colours(name: str, step: int) -> dict[str, Any]:
        path = tmp_path / name
        path.write_text(json.dumps([[step * number] * 3 for number in range(16)]), "utf-8")
        return {"model": "igpt-tiny", "objective": {"palette": str(path)}, "checkpoints": {"every_steps": 1}}

    begun, moved, other = colours("a.json", 17), colours("b.json", 17), colours("c.json", 16)
    run(data, tmp_path / "out", steps=2, **begun)
    assert run(data, tmp_path / "out", steps=2, **moved) == []
    shutil.rmtree(tmp_path / "out" / "checkpoint")  # as if it had been killed before its end
    assert [result.step for result in run(data, tmp_path / "out", steps=2, **moved)] == [2]
    refused = r"was trained with objective\.palette .*b\.json and this run has .*c\.json; choose another folder"
    with pytest.raises(ConfigError, match=refused):
        run(data, tmp_path / "out", steps=2, **other)


def test_a_vocabulary_that_moved_is_the_same_and_another_is_not(data: Path, tmp_path: Path) -> None:
    def words(name: str, *merges: tuple[str, str]) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        ids = clip_vocabulary._vocabulary(merges)
        (tmp_path / name / "vocab.json").write_text(json.dumps(ids))
        (tmp_path / name / "merges.txt").write_text("#version\n" + "\n".join(map(" ".join, merges)))
        return TEXT | {"vocabulary_size": 600, "vocabulary": str(tmp_path / name)}

    begun, moved, other = words("a", ("d", "a")), words("b", ("d", "a")), words("c", ("l", "i"))
    run(data, tmp_path / "out", steps=2, **begun)
    assert run(data, tmp_path / "out", steps=2, **moved) == []
    with pytest.raises(
        ConfigError, match=r"was trained with vocabulary .*/a and this run has .*/c; choose another folder"
    ):
        run(data, tmp_path / "out", steps=2, **other)
