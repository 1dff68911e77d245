"""A node of a Ray cluster is killed while it trains: training goes on with the ranks that are left, from the last checkpoint, and
takes the node that comes in its place.

Raylets on this machine with a CPU each (ray.cluster_utils). The first run has two ranks from start to end. In the second, which
is elastic, the raylet of a rank's node is killed and everything on it dies with it; then a new node joins. Losses of all steps
are compared with the first run's, and the steps that the record holds. About 3 minutes on two quiet cores.

    STEPS=80 EVERY=4 python infra/benchmarks/node_loss.py    (2000, 20) the run must outlast the change of nodes
"""

import io
import json
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from harness import write_facts
from PIL import Image
from ray.cluster_utils import Cluster

from orchestration.cluster import connected
from orchestration.launch import train_on_ray
from pipeline.datasets.shards import write_dataset
from training.config import TrainConfig

STEPS = int(os.environ.get("STEPS", "2000"))
EVERY = int(os.environ.get("EVERY", "20"))


def config() -> TrainConfig:
    """Adam divides by sqrt(v) + epsilon: a small one would turn another order of sums into whole steps."""
    return TrainConfig.model_validate(
        {
            "model": "clip-tiny",
            "vocabulary_size": 300,
            "context_length": 16,
            "global_batch_size": 8,
            "steps": STEPS,
            "warmup_steps": 10,
            "learning_rate": 1e-4,
            "workers": 2,
            "threads_per_worker": 1,
            "optimizer": {"epsilon": 1e-3},
            "checkpoints": {"every_steps": EVERY},
            "launch": {"minimum_workers": 1, "resize_check_seconds": 10},
        }
    )


def dataset(folder: Path) -> str:
    random, rows = np.random.default_rng(0), []
    for number in range(256):
        sink = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(sink, "PNG")
        rows.append((f"http://x/{number}", f"picture number {number}", sink.getvalue()))
    write_dataset(str(folder / "data"), rows, format="png")
    return str(folder / "data")


def trained(data: str, out: Path, say: Callable[[str], None] = print) -> dict[int, float]:
    """The loss of each step."""
    losses: dict[int, float] = {}
    train_on_ray(config(), data, str(out), lambda row: losses.update({row["step"]: row["loss"]}), say=say)
    return losses


def change_of_nodes(cluster: Any, node: Any, out: Path, told: dict[str, float], training: threading.Thread) -> None:
    """Kill `node` when there is a second checkpoint, and let another join when a checkpoint of one rank is there."""
    checkpoints = out / "checkpoints"

    def newest() -> tuple[int, int]:
        found = sorted(checkpoints.glob("*/checkpoint.json")) if checkpoints.exists() else []
        if not found:
            return 0, 0
        try:
            value = json.loads(found[-1].read_text())
        except (OSError, ValueError):  # removed in this moment
            return 0, 0
        return int(value["step"]), int(value["ranks"])

    while newest()[0] < 2 * EVERY:
        time.sleep(0.05)
    told["killed after step"] = newest()[0]
    began = time.monotonic()
    cluster.remove_node(node, allow_graceful=False)
    while newest()[1] != 1 and training.is_alive():
        time.sleep(0.1)
    told["goes on with one rank, checkpoint at step"] = newest()[0]
    told["seconds from the kill to that checkpoint"] = round(time.monotonic() - began, 1)
    cluster.add_node(num_cpus=1)
    while newest()[1] != 2 and training.is_alive():
        time.sleep(0.1)
    told["two ranks again, checkpoint at step"] = newest()[0]


def main() -> None:
    import ray

    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = dataset(folder)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            node = cluster.add_node(num_cpus=1)
            os.environ["RAY_ADDRESS"] = cluster.address
            with connected():
                whole = trained(data, folder / "whole")
                told: dict[str, float] = {}
                out = folder / "disturbed"
                again: dict[int, float] = {}
                said: list[str] = []
                training = threading.Thread(target=lambda: again.update(trained(data, out, said.append)), daemon=True)
                training.start()
                change_of_nodes(cluster, node, out, told, training)  # here: Ray starts nodes in a main thread only
                training.join()
                rows += [[what, value] for what, value in told.items()] + [["said", line] for line in said]
                apart = max(abs(again[step] - loss) for step, loss in whole.items())
                record = [json.loads(line)["step"] for line in (out / "steps.jsonl").read_text("utf-8").splitlines()]
                rows.append(["largest difference of the losses", f"{apart:.1e}"])
                rows.append(["steps of the record, each once and in order", record == list(range(1, STEPS + 1))])
                ray_version = ray.__version__
        finally:
            cluster.shutdown()
    what = f"clip-tiny, {STEPS:,} steps of 8, a checkpoint each {EVERY}"
    write_facts("node_loss", what, ["what", "found"], rows, {"ray": ray_version})


if __name__ == "__main__":
    main()
