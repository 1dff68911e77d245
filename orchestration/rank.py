"""What one rank does, whoever started it: `train`, or `profile` a few steps. It never reports to Ray, which costs 2 s a call:
steps.jsonl is the report; a mistake that trying again cannot mend, and what is to be known, are left in files for the command line.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import UserError
from training.config import TrainConfig

MISTAKE = "mistake.json"
SAID = "said.jsonl"
"""A line of JSON for each line that the training says."""
OWN = "ray"
"""Below the training's folder: what lives as long as the launch."""

SECONDS_TO_BE_TAKEN = 120.0
"""How long a rank that has saved waits for the end that was announced."""

Notice = Callable[[], float | None]


@dataclass(frozen=True)
class Place:
    rank: int
    world_size: int
    local_world_size: int


def do(place: Place, settings: Mapping[str, Any], notice: Notice) -> None:
    """`settings`: work, config, manifest_folder, folder. A UserError is written to folder/ray/mistake.json and raised."""
    mistake = Path(settings["folder"]) / OWN / MISTAKE
    if mistake.exists():
        return  # started again after a mistake that trying again cannot mend
    config = TrainConfig.model_validate(settings["config"])
    os.environ.setdefault("LOCAL_SIZE", str(place.local_world_size))
    active = shared_by(config.global_batch_size, place.world_size)
    if active < place.world_size:
        _regroup(place, active)
        if place.rank >= active:
            return
    try:
        # Asking for notice is collective over all ranks, so a group that left some out does without.
        WORK[settings["work"]](config, settings, place.rank == 0, notice if active == place.world_size else None)
    except UserError as error:
        storage.write_json(str(mistake), {"kind": type(error).__name__, "message": str(error)})
        raise


def shared_by(batch: int, ranks: int) -> int:
    """The most of `ranks` that share `batch` evenly: an elastic group of 7 trains a batch of 32,768 with 4 of them."""
    return next(each for each in range(ranks, 0, -1) if batch % each == 0)


def _regroup(place: Place, active: int) -> None:
    """Leave Ray's process group; the first `active` ranks are made ready to join one of their own."""
    from torch import distributed as dist

    box = [None]
    if place.rank == 0:
        with socket.create_server(("", 0)) as server:
            box = [server.getsockname()[1]]
    dist.broadcast_object_list(box, src=0)
    dist.destroy_process_group()
    os.environ.update(RANK=str(place.rank), WORLD_SIZE=str(active), MASTER_PORT=str(box[0]))


def _train(config: TrainConfig, settings: Mapping[str, Any], is_first: bool, notice: Notice | None) -> None:
    from training.run import run
    from training.saving.leaving import PreemptedError

    folder = settings["folder"]

    def say(line: str) -> None:
        with (Path(folder) / OWN / SAID).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    try:
        run(config, settings["manifest_folder"], folder, is_first, preemption=notice, say=say, is_measured=True)
    except PreemptedError:
        # Saved; the node goes any moment. Ray counts that as a reclaimed node, an error now as a failure of ours.
        time.sleep(SECONDS_TO_BE_TAKEN + config.launch.preemption_grace_seconds)
        raise


def _profile(config: TrainConfig, settings: Mapping[str, Any], is_first: bool, notice: Notice | None) -> None:
    from training.watching.profile import profile

    profile(config, settings["manifest_folder"], settings["folder"], settings["steps"])


WORK: Mapping[str, Callable[[TrainConfig, Mapping[str, Any], bool, Notice | None], None]] = {
    "train": _train,
    "profile": _profile,
}
