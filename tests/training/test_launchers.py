"""DeepSpeed's own launcher starts the same training as torchrun and plain python: two ranks on this machine."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.datasets.shards import write_dataset
from training.config import TrainConfig
from training.run import read_steps


def test_deepspeed_s_launcher_runs_two_ranks(tmp_path: Path) -> None:
    """The `deepspeed` command starts this launcher on every node; on machines without GPUs it counts NUMA nodes itself, so
    the ranks are named here."""
    random, rows = np.random.default_rng(0), []
    for number in range(12):
        sink = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(sink, "PNG")
        rows.append((f"http://x/{number}", f"picture number {number}", sink.getvalue()))
    write_dataset(str(tmp_path / "data"), rows, format="png")
    config = TrainConfig(
        model="clip-tiny",
        vocabulary_size=300,
        context_length=12,
        global_batch_size=8,
        steps=2,
        warmup_steps=1,
        workers=2,
        zero_stage=2,
    )
    (tmp_path / "train.json").write_text(config.model_dump_json())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = base64.urlsafe_b64encode(json.dumps({"localhost": [0, 1]}).encode()).decode()
    launcher = ["-m", "deepspeed.launcher.launch", f"--world_info={world}", f"--master_port={port}", "--module"]
    words = ["training", "--config", str(tmp_path / "train.json")]
    done = subprocess.run(
        [sys.executable, *launcher, *words, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")],
        env=os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [step.step for step in read_steps(str(tmp_path / "out"))] == [1, 2]
    assert (tmp_path / "out" / "checkpoint" / "checkpoint.json").exists()
