"""An embedded Ray and training on it: what is left behind, what comes back, what survives a kill -9."""

import contextlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from orchestration.cluster import _seconds_to_preemption, connected, resources
from orchestration.launch import train_on_ray
from orchestration.profiling import profile_recipe
from orchestration.rank import shared_by
from orchestration.recipe import load
from orchestration.tail import Tail
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.train import train

STEPS = 45

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "grey": (90, 90, 90)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """32 pictures of one colour each, with captions."""
    folder = str(tmp_path_factory.mktemp("data") / "dataset")
    samples = []
    for number in range(32):
        name = list(COLOURS)[number % 4]
        picture = io.BytesIO()
        Image.new("RGB", (40 + number, 48), COLOURS[name]).save(picture, "JPEG")
        samples.append((f"http://example.org/{number}.jpg", f"a {name} picture, number {number}", picture.getvalue()))
    write_dataset(folder, samples, samples_per_shard=8)
    return folder


def tiny(**changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "model": "clip-tiny",
        "vocabulary_size": 300,
        "context_length": 16,
        "global_batch_size": 8,
        "steps": 12,
        "warmup_steps": 2,
        "workers": 2,
        "threads_per_worker": 1,
        "checkpoints": {"every_steps": 3},
    }
    return TrainConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def embedded_ray() -> Iterator[None]:
    with connected(3):  # three, so that an elastic group must leave one out
        yield


LEAVES_NOTHING = """
import os, signal, stat
from pathlib import Path
import psutil, ray
from orchestration.cluster import _seconds_to_preemption, connected, resources

handler, path = signal.getsignal(signal.SIGTERM), os.environ.get("PYTHONPATH")
with connected():
    folder = Path(ray._private.worker._global_node.get_temp_dir_path()).parent
    started = [child for child in psutil.Process().children(recursive=True) if "ray" in " ".join(child.cmdline())]
    token = ray.get(ray.remote(lambda: os.environ["RAY_AUTH_TOKEN"]).remote())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(started) >= 3
    words = [" ".join(child.cmdline()) for child in started]
    unused = ("autoscaler", "log_monitor", "dashboard.py")  # services that nobody asks here, 290 MB
    assert not [line for line in words if any(name in line for name in unused)], words
    assert len(token) == 64
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not [path for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
psutil.wait_procs(started, timeout=60)
assert not [child for child in started if child.is_running()]
assert not folder.exists()
assert not (Path.home() / ".ray").exists()
assert os.environ.get("PYTHONPATH") == path
assert not {"RAY_AUTH_TOKEN", "RAY_AUTH_MODE"} & set(os.environ)
print("nothing left")
"""


def test_an_embedded_ray_leaves_no_process_no_folder_and_no_token(tmp_path: Path) -> None:
    """In a process of its own, because Ray decides once per process which token it has, and this user has none."""
    away = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
    environment = {name: value for name, value in os.environ.items() if name not in away}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_NOTHING], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.endswith("nothing left\n"), done.stderr[-2000:]


@pytest.fixture(scope="module")
def undisturbed(
    embedded_ray: None, dataset: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    """An elastic run: wanted are 8 workers for a batch of 8, this Ray has a few CPUs; of those the most that divide it train."""
    folder, steps = tmp_path_factory.mktemp("undisturbed"), list[dict[str, Any]]()
    train_on_ray(tiny(workers=8, launch={"minimum_workers": 1}, steps=STEPS), dataset, str(folder), steps.append)
    return folder, steps


def test_an_elastic_run_takes_the_workers_there_are_and_as_many_as_share_the_batch(
    undisturbed: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, steps = undisturbed
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    assert all(0 <= step["measured"]["data_wait_share"] <= 1 and step["measured"]["mfu"] > 0 for step in steps)
    written = json.loads((folder / "checkpoint" / "checkpoint.json").read_text())
    assert written["ranks"] == shared_by(8, int(resources()["CPU"])) < resources()["CPU"]
    assert not (folder / "ray").exists()


def test_training_on_two_workers_survives_a_kill_and_repeats_the_undisturbed_curve(
    undisturbed: tuple[Path, list[dict[str, Any]]], dataset: str, tmp_path: Path
) -> None:
    steps, disturbed = undisturbed[1], tmp_path / "disturbed"
    killed: list[int] = []

    def kill_a_worker() -> None:
        while not (disturbed / "checkpoints").exists() or len(list((disturbed / "checkpoints").iterdir())) < 2:
            time.sleep(0.05)
        while not killed:
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "TrainWorker" in " ".join(child.cmdline()) and not killed:
                        os.kill(child.pid, signal.SIGKILL)
                        killed.append(child.pid)

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    again: list[dict[str, float]] = []
    train_on_ray(tiny(steps=STEPS), dataset, str(disturbed), again.append)
    assert killed
    assert [step["loss"] for step in again] == [step["loss"] for step in steps]
    record = [json.loads(line)["step"] for line in (disturbed / "steps.jsonl").read_text().splitlines()]
    assert record == list(range(1, STEPS + 1))


def test_snapshots_are_measured_beside_the_ranks_and_change_nothing(
    embedded_ray: None, dataset: str, tmp_path: Path
) -> None:
    watch = {"evaluate_every_steps": 6, "evaluate_tasks": ["digits"], "evaluate_protocols": ["zero_shot"]}
    """The same steps by themselves, in this process, give the same curve and the same checkpoint."""
    watched, scores = list[dict[str, Any]](), list[dict[str, Any]]()
    plain = list(train(tiny(workers=1), dataset, str(tmp_path / "plain")))
    damaged = tmp_path / "watched/checkpoints/000000005/checkpoint.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("[]")
    said: list[str] = []
    train_on_ray(
        tiny(workers=1, watch=watch), dataset, str(tmp_path / "watched"), watched.append, scores.append, said.append
    )
    # What the training says is heard on this side.
    told = "damaged or changed since it was written; no undamaged checkpoint is left and the run begins at step 1"
    assert f"train: {damaged}: {told}" in said
    assert [step["loss"] for step in watched] == [step.loss for step in plain]
    assert [line["step"] for line in scores] == [6, 12]
    assert set(scores[-1]["scores"]) == {"digits/zero_shot/top1/ensemble"}
    assert "scores" in scores[0] or "passed over" in scores[0]["error"]  # twelve steps may be over at the first look
    assert not (tmp_path / "watched" / "snapshots").exists()
    ids = {
        json.loads((tmp_path / name / "checkpoint" / "checkpoint.json").read_text())["id"]
        for name in ("plain", "watched")
    }
    assert len(ids) == 1


def test_of_seven_ranks_four_share_a_batch_of_a_power_of_two() -> None:
    assert [shared_by(32_768, ranks) for ranks in (1, 2, 3, 7, 8, 64, 100)] == [1, 2, 2, 4, 8, 64, 64]


def test_a_mistake_found_by_a_worker_arrives_as_itself(embedded_ray: None, dataset: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError), match="64") as caught:
        train_on_ray(tiny(global_batch_size=64, workers=1), dataset, str(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "ray").exists()


def test_more_workers_than_cpus_is_told_at_once(embedded_ray: None, dataset: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.workers 64: this Ray has \d+ CPUs"):
        train_on_ray(tiny(workers=64, global_batch_size=64), dataset, str(tmp_path / "out"))


def write_steps(path: Path, steps: range) -> None:
    """As training writes it on a resume: a new file under the same name."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps({"step": step}) + "\n" for step in steps))
    temporary.replace(path)


def test_a_tail_gives_each_step_once_though_the_file_is_cut_back(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    tail = Tail(str(path))
    assert tail.new_lines() == []
    write_steps(path, range(1, 8))
    assert [line["step"] for line in tail.new_lines()] == [1, 2, 3, 4, 5, 6, 7]
    write_steps(path, range(1, 6))
    assert tail.new_lines() == []
    with path.open("a") as file:
        file.write('{"step": 6}\n{"step": 7}\n{"step": 8}\n{"step"')
    assert [line["step"] for line in tail.new_lines()] == [8]
    with path.open("a") as file:
        file.write(": 9}\n")
    assert [line["step"] for line in tail.new_lines()] == [9]


def test_a_tail_notices_a_file_cut_back_in_place_and_grown_past_its_old_end(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    tail = Tail(str(path))
    path.write_text('{"step": 1}\n{"step": 2}\n')
    assert len(tail.new_lines()) == 2
    path.write_text('{"step": 1, "loss": 5}\n{"step": 2, "loss": 4}\n{"step": 3, "loss": 3}\n')
    assert tail.new_lines() == [{"step": 3, "loss": 3}]


def test_a_recipes_profile_runs_as_its_training_would_and_names_what_bounds_it(
    embedded_ray: None, dataset: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "own.yaml"
    values = tiny(steps=100).model_dump(mode="json", include={"model", "vocabulary_size", "global_batch_size", "steps"})
    values |= {"warmup_steps": 2, "workers": 2, "threads_per_worker": 1, "context_length": 16}
    recipe.write_text(f"name: own\ndata: {dataset}\ntrain: {json.dumps(values)}\n")
    found = profile_recipe(load(str(recipe)), str(tmp_path / "runs"), steps=2)
    assert found["seconds"]["communication"] > 0
    assert found["verdict"].endswith("bounds it")
    assert json.loads(Path(found["trace"]).read_text())["traceEvents"]


@pytest.mark.parametrize(("deadline", "left"), [(None, math.inf), (-5.0, 0.0), (60.0, 60.0)])
def test_notice_of_a_reclaimed_node_reaches_a_rank_as_seconds_left(
    monkeypatch: pytest.MonkeyPatch, deadline: float | None, left: float
) -> None:
    import ray.train

    info = ray.train.PreemptionInfo(
        deadline_ms=None if deadline is None else int(1000 * (time.time() + deadline)),
        preempted_node_to_ranks={"a": [0]},
    )
    monkeypatch.setattr(ray.train, "get_preemption_info", lambda: info)
    assert _seconds_to_preemption() == pytest.approx(left, abs=1)
    monkeypatch.setattr(ray.train, "get_preemption_info", lambda: None)
    assert _seconds_to_preemption() is None
