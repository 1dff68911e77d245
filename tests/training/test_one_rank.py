"""What one rank alone meets: it is said in one line, by whoever can say it, and no thread is left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ranks import started

from pipeline.errors import DataError
from training import __main__ as command
from training.config import TrainConfig
from training.train import train

SETTINGS: dict[str, Any] = {
    "model": "vit-tiny-8",
    "global_batch_size": 8,
    "warmup_steps": 0,
    "steps": 500,
    "workers": 2,
    "threads_per_worker": 1,
}


def picture_folder(folder: Path) -> str:
    draw = np.random.default_rng(0)
    for number in range(16):
        path = folder / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return str(folder)


def end_of_two(tmp_path: Path, folders: list[str]) -> tuple[list[int], list[str]]:
    """Exit codes and words of two ranks, each of which sees a folder of its own at the path of the data."""
    (tmp_path / "train.json").write_text(TrainConfig.model_validate(SETTINGS).model_dump_json())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    words, processes = ["--config", str(tmp_path / "train.json"), "--out", str(tmp_path / "out")], []
    for rank, folder in enumerate(folders):
        own = place | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        processes.append(started(command.main, [*words, "--data", folder], own, tmp_path / f"said-{rank}.txt"))
    for process in processes:
        process.join(300)
    return [each.exitcode for each in processes], [(tmp_path / f"said-{rank}.txt").read_text() for rank in range(2)]


def test_data_that_one_rank_does_not_see_is_said_by_the_first(tmp_path: Path) -> None:
    codes, (first, second) = end_of_two(tmp_path, [picture_folder(tmp_path / "data"), str(tmp_path / "unmounted")])
    assert codes == [2, 2]
    (line,) = [each for each in first.splitlines() if "unmounted" in each]
    assert line.startswith("rank 1: ")
    assert "Traceback" not in first + second


def test_pictures_that_one_rank_cannot_read_are_said_by_it(tmp_path: Path) -> None:
    whole = picture_folder(tmp_path / "data")
    damaged = picture_folder(tmp_path / "copy")
    for path in sorted(Path(damaged).rglob("*.png"))[::2]:  # same names, sizes and order: a disk's fault
        path.write_bytes(bytes(path.stat().st_size))
    codes, (first, second) = end_of_two(tmp_path, [whole, damaged])
    assert codes == [1, 2]
    (line,) = [each for each in second.splitlines() if "max_broken_share" in each]
    assert line.startswith("rank 1: ")
    assert "rank 0: another rank has ended" in first
    assert "Traceback" not in first + second


def test_no_thread_outlives_a_training_whose_error_is_held(tmp_path: Path) -> None:
    config = TrainConfig.model_validate(SETTINGS | {"workers": 1})
    results = train(config, picture_folder(tmp_path / "data"), str(tmp_path / "out"))
    assert [next(results).step, next(results).step] == [1, 2]
    before = [thread.name for thread in threading.enumerate()]
    with pytest.raises(DataError, match="disk is full") as held:
        results.throw(DataError("disk is full"))  # type: ignore[attr-defined]  # a generator, as its callers know
    running = [thread.name for thread in threading.enumerate()]
    assert [name for name in before if name.startswith(("loader", "pictures"))]
    assert held.tb is not None  # its frames are alive, and with them all that they hold
    assert not [name for name in running if name.startswith(("loader", "pictures", "checkpoint"))]


def test_ctrl_c_ends_in_a_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "data")
    settings = SETTINGS | {"workers": 1, "steps": 100_000, "data": {"processes": 1}}
    (tmp_path / "train.json").write_text(TrainConfig.model_validate(settings).model_dump_json())
    words = ["--config", str(tmp_path / "train.json"), "--data", data, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("step 1/")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "stopped; the same command goes on from the newest checkpoint\n")
