"""A run of two processes that is told to leave, loses a worker to kill -9, finds its newest checkpoint damaged, and ends on
one process under another ZeRO stage: it sees the samples of a run that was left alone, and learns the same.
"""

import io
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import logged_training
import numpy as np
import pytest
from PIL import Image
from ranks import started

from pipeline.datasets.shards import write_dataset
from training.config import TrainConfig
from training.data.config import DataConfig
from training.saving.checkpoint import Checkpoint
from training.saving.checkpoints_config import CheckpointsConfig
from training.train import train

CONFIG = TrainConfig(
    model="clip-tiny",
    vocabulary_size=300,
    context_length=12,
    global_batch_size=16,
    steps=24,
    warmup_steps=4,
    max_gradient_norm=1.0,
    workers=2,
    threads_per_worker=1,
    checkpoints=CheckpointsConfig(every_steps=5, keep=3),
    data=DataConfig(max_rotation_degrees=10.0),
    patch_dropout=0.25,
)
CLOCK = ("samples_per_second", "seconds_left", "measured")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    random = np.random.default_rng(0)
    rows = []
    for number in range(45):  # 24 steps of 16 samples end in the ninth epoch: resuming starts inside one
        sink = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(sink, "PNG")
        rows.append((f"http://x/{number}", f"picture number {number}", sink.getvalue()))
    write_dataset(str(folder), rows, samples_per_shard=20, format="png")
    return folder


def start(dataset: Path, out: Path) -> list[Any]:
    """Two ranks, as any launcher starts them, in a process group of their own."""
    out.mkdir(exist_ok=True)
    (out / "train.json").write_text(CONFIG.model_dump_json())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--config", out / "train.json", "--data", dataset, "--out", out]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        started(logged_training.main, words, place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, said(out, rank))
        for rank in range(2)
    ]


def said(out: Path, rank: int) -> Path:
    return out / f"said-{rank}.txt"


def ends(processes: list[Any], codes: list[int], out: Path) -> str:
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == codes, said(out, 0).read_text()
    return said(out, 0).read_text()


def wait_for(out: Path, processes: list[Any], steps: int) -> None:
    """Until the record has so many lines."""
    deadline = time.monotonic() + 300
    while not (out / "steps.jsonl").exists() or len((out / "steps.jsonl").read_text().splitlines()) < steps:
        assert all(process.is_alive() for process in processes), said(out, 0).read_text()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def samples(out: Path) -> dict[int, list[int]]:
    """What each step saw, the last time that it was done, over all ranks in their order."""
    last: dict[int, list[int]] = {}
    for rank in range(2):
        lines = (out / f"samples-{rank}.jsonl").read_text().splitlines() if rank == 0 or len(last) else []
        seen = dict(map(json.loads, lines))
        last = {step: [*last.get(step, []), *ids] for step, ids in seen.items()} if last else seen
    return last


def curve(out: Path) -> list[dict[str, Any]]:
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    return [{key: value for key, value in step.items() if key not in CLOCK} for step in steps]


def sealed(out: Path) -> list[str]:
    return sorted(path.parent.name for path in (out / "checkpoints").glob("*/checkpoint.json"))


def test_a_killed_run_with_a_damaged_checkpoint_ends_like_one_that_was_left_alone(
    dataset: Path, tmp_path: Path
) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    ends(start(dataset, alone), [0, 0], alone)
    assert [step["step"] for step in curve(alone)] == list(range(1, 25))
    assert sealed(alone) == ["000000010", "000000015", "000000020"]  # the newest three

    processes = start(dataset, killed)
    wait_for(killed, processes, 2)
    processes[1].terminate()  # SIGTERM to one rank: both save and leave
    assert "told to leave: saved step" in ends(processes, [75, 75], killed)
    assert len(sealed(killed)) == 1

    processes = start(dataset, killed)
    wait_for(killed, processes, 12)
    os.killpg(processes[1].pid, signal.SIGKILL)  # one worker: the other cannot go on, and ends
    processes[0].join(120)
    assert processes[0].exitcode not in (0, None)
    newest = sealed(killed)[-1]
    assert newest >= "000000005"
    weights = killed / "checkpoints" / newest / "state-00001.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(bytes(damaged))
    half_written = killed / "checkpoints" / "000000023.partial"  # a kill while saving
    half_written.mkdir()
    (half_written / "state-00000.safetensors").write_bytes(b"half")

    ends(start(dataset, killed), [0, 0], killed)
    assert curve(killed) == curve(alone)  # every float equal, bit for bit
    assert samples(killed) == samples(alone)
    final = Checkpoint.load(str(killed / "checkpoint"))
    assert final.id == Checkpoint.load(str(alone / "checkpoint")).id
    assert (final.step, final.samples_seen, final.ranks) == (24, 24 * 16, 2)
    assert sorted(path.name for path in (killed / "checkpoint").iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "tokenizer.json",
    ]

    # The same from the middle on one process, under ZeRO 3: in this one.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(killed / "checkpoints/000000015", elsewhere / "checkpoints/000000015")
    seen: dict[int, list[int]] = {}
    other = CONFIG.model_copy(update={"workers": 1, "zero_stage": 3})
    losses = [
        result.loss
        for result in train(
            other,
            str(dataset),
            str(elsewhere),
            look=lambda step, _, __, batch, ___: seen.update({step: [*batch.samples]}),
        )
    ]
    assert losses == pytest.approx([step["loss"] for step in curve(alone)[15:]], abs=1e-5)
    assert seen == {step: ids for step, ids in samples(alone).items() if step > 15}
