"""Training on Ray as the command line sees it: what is checked first, what arrives while it goes on, what is left behind.

The ranks write steps.jsonl and snapshots in the step's folder; this side reads the one and has the others measured
(orchestration/beside.py). Nothing it knows is lost when it dies: the same command goes on.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestration import cluster
from orchestration.beside import Beside
from orchestration.rank import MISTAKE, OWN, SAID
from orchestration.room import Room
from orchestration.tail import Tail
from pipeline import errors, storage
from pipeline.errors import ConfigError, UserError
from training.config import TrainConfig

SECONDS_BETWEEN_LOOKS = 0.2

OnRow = Callable[[Mapping[str, Any]], None]


def _ignore(row: Mapping[str, Any]) -> None:
    pass


def _silent(line: str) -> None:
    pass


def train_on_ray(
    config: TrainConfig,
    manifest_folder: str,
    folder: str,
    on_step: OnRow = _ignore,
    on_evaluation: OnRow = _ignore,
    say: Callable[[str], None] = _silent,
    datasets: str | None = None,
) -> None:
    """Train on `config.workers` Ray Train workers; the checkpoint is in `folder`/checkpoint when this returns.

    `folder` is a disk that every node sees. `on_step` gets each line of `folder`/steps.jsonl once, `on_evaluation` each of
    `folder`/evaluations.jsonl, in this thread; `say` gets a line when nodes were lost or came, and those that the training says,
    `train: ` before them. A worker that dies is replaced
    and training goes on from its last checkpoint, `launch.max_failures` times; nodes that are reclaimed with notice count
    apart. Below `datasets` lie the benchmarks of `watch.evaluate_tasks` that are on disk. Must run inside `cluster.connected`.
    Raises: the ConfigError or DataError that a worker raised; DataError where workers cannot start or keep dying.
    """
    folder = _on_disk(folder)
    tail, beside = Tail(os.path.join(folder, "steps.jsonl")), Beside(config, folder, datasets=datasets)
    gpus = cluster.gpus_per_worker(config, cluster.resources())
    room = Room(config, cluster.resources, gpus, say)
    said, heard = Path(folder) / OWN / SAID, 0

    def look() -> None:
        nonlocal heard
        words = _said(said)
        for word in words[heard:]:
            say(f"train: {word}")
        heard = len(words)
        for line in tail.new_lines():
            on_step(line)
        for line in beside.new_lines():
            on_evaluation(line)
        room.look()

    _launch("train", {}, config, manifest_folder, folder, look)
    for line in beside.rest():
        on_evaluation(line)


def _said(path: Path) -> list[str]:
    """What the first rank said so far; a line without its end is left for later."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


def profile_on_ray(config: TrainConfig, manifest_folder: str, folder: str, steps: int) -> None:
    """Leaves `folder`/trace.json and `folder`/profile.json, of `steps` steps. Must run inside `cluster.connected`."""
    _launch("profile", {"steps": steps}, config, manifest_folder, _on_disk(folder), lambda: None)


def _on_disk(folder: str) -> str:
    if not storage.is_local(folder):
        raise ConfigError(f"{folder}: training writes its checkpoints to a disk; give a --root that every node mounts")
    return os.path.abspath(folder.removeprefix("file://"))


def _launch(
    work: str,
    extra: Mapping[str, Any],
    config: TrainConfig,
    manifest_folder: str,
    folder: str,
    look: Callable[[], None],
) -> None:
    if manifest_folder and storage.is_local(manifest_folder):
        manifest_folder = os.path.abspath(manifest_folder.removeprefix("file://"))
    _require_room(config, cluster.resources())
    own = Path(folder) / OWN
    shutil.rmtree(own, ignore_errors=True)  # a half-written state of Ray's would stop it at every start
    own.mkdir(parents=True)
    settings = {"config": config.model_dump(mode="json"), "manifest_folder": manifest_folder, "folder": folder, **extra}
    outcome: list[BaseException] = []

    def fit() -> None:
        try:
            cluster.fit(work, settings, config, own)
        except BaseException as error:
            outcome.append(error)

    # In a thread of its own, so that Ctrl-C and SIGTERM stay with the command line.
    fitting = threading.Thread(target=fit, daemon=True, name="ray-train")
    fitting.start()
    try:
        while True:
            running = fitting.is_alive()  # asked before the files are read, so that the last lines are never missed
            look()
            if not running:
                break
            fitting.join(SECONDS_BETWEEN_LOOKS)
        _raise_mistake(own)
        if outcome:
            raise outcome[0]
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _require_room(config: TrainConfig, available: Mapping[str, float]) -> None:
    """Raises where Ray would wait for ever, and say nothing."""
    least = config.launch.minimum_workers or config.workers
    key = "train.launch.minimum_workers" if config.launch.minimum_workers else "train.workers"
    gpus = cluster.gpus_per_worker(config, available)
    for name, each in (("CPU", config.launch.cpus_per_worker), ("GPU", gpus)):
        has = available.get(name, 0)
        if least * each > has:
            fits = int(has // each)
            way_out = (
                f"set {key}={fits} or less"
                if fits
                else f"it has none to spare; set train.launch.{name.lower()}s_per_worker"
            )
            raise ConfigError(f"{key} {least}: this Ray has {has:g} {name}s; {way_out}")


def _raise_mistake(own: Path) -> None:
    """The UserError that a worker left behind, as itself."""
    if (own / MISTAKE).exists():
        said = storage.read_json(str(own / MISTAKE))
        raise getattr(errors, said["kind"], UserError)(said["message"])
