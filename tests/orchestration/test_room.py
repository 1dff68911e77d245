"""What a run says of the room that Ray has for its workers."""

import pytest

from orchestration.room import Room, workers_that_fit
from training.config import TrainConfig


def config(**launch: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {"model": "clip-tiny", "global_batch_size": 8, "steps": 9, "workers": 4, "warmup_steps": 1, "launch": launch}
    )


@pytest.mark.parametrize(
    ("resources", "gpus", "fits"),
    [({"CPU": 9}, 0, 4), ({"CPU": 5}, 0, 2), ({"CPU": 9, "GPU": 3}, 1, 3), ({"CPU": 9}, 1, 0), ({}, 0, 0)],
)
def test_the_scarcer_of_cpus_and_gpus_says_how_many_workers_fit(
    resources: dict[str, float], gpus: float, fits: int
) -> None:
    assert workers_that_fit(config(cpus_per_worker=2), resources, gpus) == fits


def test_it_speaks_when_nodes_are_lost_and_when_they_come_and_at_no_other_time() -> None:
    now, has, said = [0.0], {"CPU": 4.0}, list[str]()
    room = Room(config(minimum_workers=2, resize_check_seconds=30), lambda: has, 0, said.append, lambda: now[0])
    for cpus in (4.0, 4.0, 3.0, 3.0, 1.0, 1.0, 4.0):
        has["CPU"] = cpus
        for _ in range(3):
            now[0] += 2
            room.look()
    assert said == [
        "train: Ray has 3 CPUs, room for 3 of 4 workers; training goes on with 3 and looks for more every 30 s",
        "train: Ray has 1 CPUs, room for 1 of 4 workers; training waits for room for 2 and goes on from its last checkpoint",
        "train: Ray has 4 CPUs, room for 4 of 4 workers again",
    ]


def test_a_group_of_fixed_size_waits_for_all_of_its_workers() -> None:
    said = list[str]()
    Room(config(), lambda: {"CPU": 3.0}, 0, said.append).look()
    assert said == [
        "train: Ray has 3 CPUs, room for 3 of 4 workers; training waits for room for 4 and goes on from its last checkpoint"
    ]
