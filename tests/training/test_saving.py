"""Checkpoints in the face of full disks, notices to leave and the need to look back: one process, real files."""

import io
import json
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.objectives.config import METRICS
from training.run import run
from training.saving import folder as folders
from training.saving.checkpoint import Checkpoint
from training.saving.checkpoints_config import CheckpointsConfig
from training.saving.leaving import PreemptedError
from training.saving.parts import write_tensors
from training.train import train
from training.watching.record import whole_rows
from training.watching.replay import as_json, replay

BASE = TrainConfig.model_validate(
    {
        "model": "clip-tiny",
        "vocabulary_size": 300,
        "context_length": 12,
        "global_batch_size": 8,
        "steps": 9,
        "warmup_steps": 2,
        "threads_per_worker": 1,
        "patch_dropout": 0.25,
        "optimizer": {"ema_decay": 0.9},
        "checkpoints": {"every_steps": 2, "keep": 2},
    }
)


def changed(**values: Any) -> TrainConfig:
    return TrainConfig.model_validate(BASE.model_dump() | values)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("dataset")
    random = np.random.default_rng(0)
    rows = []
    for number in range(30):
        sink = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(sink, "PNG")
        rows.append((f"http://x/{number}", f"picture number {number}", sink.getvalue()))
    write_dataset(str(folder), rows, samples_per_shard=12, format="png")
    return str(folder)


@pytest.fixture(scope="module")
def alone(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("alone")
    run(BASE, dataset, str(out), is_first=True)
    return out


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "steps.jsonl").read_text().splitlines()]


def sealed(out: Path) -> list[int]:
    return [int(each.name) for each in folders.sealed(out / "checkpoints")]


def must_end_like(out: Path, alone: Path) -> None:
    assert losses(out) == losses(alone)
    assert Checkpoint.load(str(out / "checkpoint")).files == Checkpoint.load(str(alone / "checkpoint")).files


@pytest.fixture
def small_files() -> Iterator[Any]:
    """A disk that takes no file larger than this: what ENOSPC is on a full one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_full_disk_ends_the_run_in_one_line_and_harms_nothing(
    dataset: str, alone: Path, tmp_path: Path, small_files: Any, asynchronous: bool
) -> None:
    checkpoints = {"every_steps": 2, "keep": 2, "asynchronous": asynchronous}

    def fill_the_disk(result: Any) -> None:
        if result.step == 4:
            small_files(100_000)

    with pytest.raises(DataError) as caught:
        run(changed(checkpoints=checkpoints), dataset, str(tmp_path), is_first=True, on_step=fill_the_disk)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path}/checkpoints: cannot be written (File too large); the checkpoints before it")
    assert sealed(tmp_path) == [2]
    Checkpoint.load(str(tmp_path / "checkpoints/000000002"))  # every checksum fits

    small_files(resource.RLIM_INFINITY)
    run(BASE, dataset, str(tmp_path), is_first=True)
    must_end_like(tmp_path, alone)
    assert sorted(each.name for each in (tmp_path / "checkpoints").iterdir()) == ["000000006", "000000008"]


def test_what_is_damaged_is_passed_over_and_said(dataset: str, alone: Path, tmp_path: Path) -> None:
    """Seals that are JSON of another kind or with another number, a record with bytes of something else; then nothing whole."""
    out = tmp_path / "out"
    shutil.copytree(alone, out)
    (out / "checkpoint/checkpoint.json").write_text("[]")
    seal = out / "checkpoints/000000008/checkpoint.json"
    seal.write_text(seal.read_text().replace('"step": 8', '"step": 7'))
    with (out / "steps.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\n[1]\n{half")
    said: list[str] = []
    run(BASE, dataset, str(out), is_first=True, say=said.append)
    must_end_like(out, alone)
    changed_since = "checkpoint.json: damaged or changed since it was written;"
    assert said == [
        f"{out}/checkpoint/{changed_since} the finished model is made again from the last checkpoint to resume from",
        f"{out}/checkpoints/000000008/{changed_since} the run goes on from step 6",
        f"{out}/steps.jsonl: 2 lines were damaged and are left out",
    ]

    shutil.rmtree(out / "checkpoint")
    for state in (out / "checkpoints").glob("*/state-00000.safetensors"):
        state.write_bytes(state.read_bytes()[:-1])
    said.clear()
    run(BASE, dataset, str(out), is_first=True, say=said.append)
    must_end_like(out, alone)
    state = "state-00000.safetensors: missing or changed since it was written; no undamaged checkpoint is left and the"
    assert said == [f"{out}/checkpoints/{step:09d}/{state} run begins at step 1" for step in (8, 6)]


def test_a_record_of_bytes_gives_its_whole_rows() -> None:
    whole = [b'{"step": 1, "loss": 2.5}\n', b'{"step": 2}\n']
    harm = [b"\n", b"\0\0\0\n", b'{"step": "3"}\n', b'{"loss": 1}\n', b"[" * 100_000 + b"\n", b'"\xff"\n']
    rows, damaged = whole_rows(whole[0] + b"".join(harm) + whole[1] + b'{"step": 4}')
    assert rows == [(whole[0], {"step": 1, "loss": 2.5}), (whole[1], {"step": 2})]
    assert damaged == len(harm)
    assert whole_rows(b"") == whole_rows(b'{"step": 1}') == ([], 0)


def test_sigterm_saves_and_leaves_and_the_run_goes_on(dataset: str, alone: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def told(result: Any) -> None:
        if result.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(PreemptedError, match="saved step 3 of 9"):
        run(BASE, dataset, str(tmp_path), is_first=True, on_step=told)
    assert sealed(tmp_path) == [2, 3]
    assert signal.getsignal(signal.SIGTERM) is before
    run(BASE, dataset, str(tmp_path), is_first=True)
    must_end_like(tmp_path, alone)


def test_a_notice_saves_at_once_and_again_before_the_deadline(dataset: str, alone: Path, tmp_path: Path) -> None:
    """The scheduler is asked at every step here; it gives notice after the third, and the last moment after the sixth."""
    often = changed(checkpoints={"every_steps": 100, "keep": 5, "preemption_poll_seconds": 1e-9})
    asked = 0

    def notice() -> float | None:
        nonlocal asked
        asked += 1
        return None if asked < 3 else 1000.0 if asked < 6 else 0.0

    with pytest.raises(PreemptedError, match="saved step 7 of 9"):
        run(often, dataset, str(tmp_path), is_first=True, preemption=notice)
    assert sealed(tmp_path) == [4, 7]
    run(BASE, dataset, str(tmp_path), is_first=True)
    must_end_like(tmp_path, alone)


def test_the_best_are_kept_beside_the_newest(dataset: str, tmp_path: Path) -> None:
    run(changed(checkpoints={"every_steps": 1, "keep": 1, "keep_best": 2}), dataset, str(tmp_path), is_first=True)
    found = losses(tmp_path)[:8]  # a mean over the one step since the checkpoint before; the last step is no checkpoint
    best = sorted(range(1, 9), key=lambda step: found[step - 1])[:2]
    assert sealed(tmp_path) == sorted({*best, 8})
    with pytest.raises(
        ValidationError, match="best_metric is accuraccy, and a step has loss, gradient_norm, accuracy_image"
    ):
        changed(checkpoints={"keep_best": 1, "best_metric": "accuraccy"})


def test_the_best_by_an_evaluation_are_kept(tmp_path: Path) -> None:
    lines = [{"step": 2, "scores": {"digits": 0.9}}, {"step": 4, "scores": {"digits": 0.8}}, {"step": 6, "error": "x"}]
    (tmp_path / "evaluations.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 8, "sco')
    for step in (2, 4, 6, 8):
        folder = tmp_path / "checkpoints" / folders.name_of(step)
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text("{}")
    config = CheckpointsConfig(keep=1, keep_best=1, best_metric="digits")
    found = folders.surplus(folders.sealed(tmp_path / "checkpoints"), config)
    assert [int(each.name) for each in found] == [4, 6]
    # An evaluation takes longer than the steps between: the score of step 6 is still to come, that of 4 is there.
    (tmp_path / "evaluations.jsonl").write_text("\n".join(map(json.dumps, lines[:2])))
    for step in (4, 6):
        snapshot = tmp_path / "snapshots" / folders.name_of(step)
        snapshot.mkdir(parents=True)
        (snapshot / "checkpoint.json").write_text("{}")
    found = folders.surplus(folders.sealed(tmp_path / "checkpoints"), config)
    assert [int(each.name) for each in found] == [4]
    by_loss = CheckpointsConfig(keep=1)
    assert [int(each.name) for each in folders.surplus(folders.sealed(tmp_path / "checkpoints"), by_loss)] == [2, 4, 6]
    falling = {"loss", "gradient_norm", "bits_per_pixel", "nats_per_pixel", "class_loss", "text_nats"}
    names = {name for each in METRICS.values() for name in each} | {
        "loss",
        "gradient_norm",
        "digits/zero_shot/top1/ensemble",
    }
    assert {name for name in names if CheckpointsConfig(best_metric=name).is_lowest_best} == falling
    assert CheckpointsConfig(best_metric="accuracy", best_is="lowest").is_lowest_best


def test_what_may_change_between_runs_and_what_not(dataset: str, alone: Path, tmp_path: Path) -> None:
    steps = train(BASE, dataset, str(tmp_path))
    for _ in range(4):
        next(steps)
    steps.close()  # waits for the checkpoint in hand
    assert sealed(tmp_path) == [2]
    with pytest.raises(ConfigError, match=r"trained with learning_rate 0\.0005 and this run has 0\.1; choose another"):
        list(train(changed(learning_rate=0.1), dataset, str(tmp_path)))
    other = changed(zero_stage=3, threads_per_worker=2, checkpoints={"every_steps": 3})
    curve = [result.loss for result in train(other, dataset, str(tmp_path))]
    assert curve == pytest.approx(losses(alone)[2:], abs=1e-5)
    assert list(train(BASE, dataset, str(tmp_path))) == []  # finished, whatever finished it


def test_a_resumable_checkpoint_opens_as_a_model(alone: Path) -> None:
    finished = Checkpoint.load(str(alone / "checkpoint"))
    halfway = Checkpoint.load(str(alone / "checkpoints/000000008"))
    pixels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    wanted, found = finished.model().image_features(pixels), halfway.model().image_features(pixels)
    assert found.shape == wanted.shape
    assert not torch.equal(found, wanted)
    average = finished.weights(averaged=True)
    assert set(average) == set(finished.weights())
    assert not torch.equal(average["logit_scale"], finished.weights()["logit_scale"])


def test_replay_finds_loss_and_samples_of_a_step(dataset: str, alone: Path) -> None:
    found = replay(str(alone), dataset, 8)
    assert (found.step, found.from_step) == (8, 6)
    assert found.loss == losses(alone)[7]  # one process then and now: every bit
    assert found.largest_difference == 0
    assert np.mean([each.loss for each in found.samples]) == pytest.approx(found.loss, rel=1e-5)
    assert found.recorded is not None
    assert found.gradient_norm == pytest.approx(found.recorded.gradient_norm, rel=1e-5)
    assert [each.loss for each in found.samples] == sorted((each.loss for each in found.samples), reverse=True)
    for each in found.samples:
        assert each.sample.caption == f"picture number {each.sample.url.removeprefix('http://x/')}"
        assert len(each.sample.key) > 3
    assert len(as_json(found, worst=3)["samples"]) == 3
    with pytest.raises(ConfigError, match=r"--step 12: the run in .* has come to step 9"):
        replay(str(alone), dataset, 12)


def test_a_replay_that_is_told_to_leave_leaves_the_run_s_checkpoints(dataset: str, tmp_path: Path) -> None:
    """It saves beside a link to the one it began with, and keeps one: the link goes, what it leads to stays."""
    running = train(changed(checkpoints={"every_steps": 2, "keep": 1}), dataset, str(tmp_path))
    assert [next(running).step for _ in range(5)] == [1, 2, 3, 4, 5]
    running.close()  # type: ignore[attr-defined]  # train is a generator
    (kept,) = folders.sealed(tmp_path / "checkpoints")
    with pytest.raises(SystemExit, match="143"):
        replay(str(tmp_path), dataset, 6, on_step=lambda step: os.kill(os.getpid(), signal.SIGTERM))
    assert Checkpoint.load(str(kept)).step == 4


@pytest.mark.parametrize("model", ["captioner-tiny", "words-tiny"])
def test_replay_of_captions_in_chunks_of_other_lengths(model: str, dataset: str, tmp_path: Path) -> None:
    chosen = {"model": model, "memory": {"chunks": 4}, "steps": 3, "patch_dropout": 0.0}
    run(changed(**chosen), dataset, str(tmp_path), is_first=True)
    found = replay(str(tmp_path), dataset, 3)
    assert found.loss == pytest.approx(losses(tmp_path)[2], rel=1e-6)
    assert np.mean([each.loss for each in found.samples]) == pytest.approx(found.loss, rel=1e-5)


def test_the_format_is_that_of_safetensors(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(6.0).reshape(2, 3),
        "b": torch.ones(3, dtype=torch.bfloat16),
        "c": torch.tensor([7]),
        "d": torch.zeros(0),
    }
    write_tensors(tmp_path / "x.safetensors", list(tensors.items()))
    found = load_file(tmp_path / "x.safetensors")
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in tensors.items())
