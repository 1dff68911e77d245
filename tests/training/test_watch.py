"""What a training costs while it goes on, by a clock that the test turns; and what cards can do."""

import math
from dataclasses import dataclass

import pytest
import torch
from pydantic import ValidationError

from training.config import TrainConfig
from training.spec import get_spec
from training.specs.base import transformer_flops
from training.watching.cards import CARDS, card_called
from training.watching.watch import Watch, memory, peak_flops, timed_precisely

CPU = torch.device("cpu")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Texts:
    tokens: torch.Tensor | None


def texts_of_nine() -> Texts:
    """Two of 6 and two of 12 tokens in 20 places."""
    tokens = torch.zeros(4, 20, dtype=torch.int64)
    tokens[[0, 1, 2, 3], [5, 5, 11, 11]] = 99
    return Texts(tokens)


def config(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {"model": "clip-tiny", "global_batch_size": 8, "steps": 99, "warmup_steps": 1} | changes
    )


def test_speed_waiting_and_mfu_are_those_of_the_last_seconds() -> None:
    """Each step waits 1 s and computes 3 s; MFU is 3 x forward FLOPs of 8 samples in 4 s, of the peak of both ranks."""
    clock, spec = Clock(), get_spec("clip-tiny")
    watch = Watch(config(), spec, 2, CPU, clock, peak=1e9)

    def loader():  # type: ignore[no-untyped-def]
        for _ in range(6):
            clock.now += 1
            yield texts_of_nine()

    paces = []
    for batch in watch.over(loader()):
        clock.now += 3
        paces.append(watch.tick(batch))
    assert [pace.samples_per_second for pace in paces] == [2.0] * 6
    assert paces[-1].measured["data_wait_share"] == 0.25
    flops = 3 * spec.sample_flops(9) * 8
    assert paces[-1].measured["mfu"] == pytest.approx(flops / 4 / 2e9, rel=1e-3)
    assert flops < 3 * spec.sample_flops() * 8  # short texts are not counted as long ones


def test_steps_that_are_timed_precisely_are_a_window_of_their_own() -> None:
    """A profile's MFU and share of waiting are those of its steps: not of the slow ones just before, and of all of its own."""
    clock, spec = Clock(), get_spec("clip-tiny")
    watch = Watch(config(), spec, 1, CPU, clock, peak=1e9)

    def loader():  # type: ignore[no-untyped-def]
        for seconds in (6, 6, 6, 5, 1, 1, 1, 1):
            clock.now += seconds
            yield texts_of_nine()

    batches = watch.over(loader())

    def step() -> dict[str, float]:
        batch = next(batches)
        clock.now += 3
        return watch.tick(batch).measured

    assert [step()["data_wait_share"] for _ in range(3)] == pytest.approx([2 / 3] * 3, rel=1e-3)
    with timed_precisely() as phases:
        found = [step() for _ in range(5)][-1]
    assert found["data_wait_share"] == 9 / 24 == phases["data wait"] / 24
    assert found["mfu"] == pytest.approx(3 * spec.sample_flops(9) * 8 * 5 / 24 / 1e9, rel=1e-3)


def test_a_slow_start_is_forgotten_and_left_out_patches_are_not_counted() -> None:
    clock, spec = Clock(), get_spec("clip-tiny")
    watch = Watch(config(patch_dropout=0.5), spec, 1, CPU, clock, peak=1e9)
    batch = texts_of_nine()
    clock.now += 60
    assert watch.tick(batch).samples_per_second == pytest.approx(8 / 60, abs=0.1)
    for _ in range(30):
        clock.now += 1
        pace = watch.tick(batch)
    assert pace.samples_per_second == 8.0
    blocks = transformer_flops(128, 3, 17) - transformer_flops(128, 3, 9)  # 8 of 16 patches and the class token
    flops = 3 * (spec.sample_flops(9) - blocks) * 8
    assert pace.measured["mfu"] == pytest.approx(flops / 1e9, rel=1e-3)


def test_phases_are_timed_only_for_whoever_asks() -> None:
    clock = Clock()
    watch = Watch(config(), get_spec("clip-tiny"), 1, CPU, clock, peak=1e9)
    with watch.phase("update"):
        clock.now += 1
    with timed_precisely() as seconds:
        for _ in range(2):
            with watch.phase("update"):
                clock.now += 2
    assert seconds == {"update": 4.0}


def test_memory_is_this_processs() -> None:
    before = memory(None)["host_gib"]
    held = torch.ones(64 << 20)
    assert memory(None)["host_gib"] - before == pytest.approx(0.25, abs=0.05)
    assert held.sum() > 0


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40g"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA A10", "a10"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_a_card_is_known_by_its_drivers_name(name: str, card: str | None) -> None:
    assert card_called(name) == (CARDS[card] if card else None)


def test_a_cpus_peak_is_measured_and_no_step_is_above_it() -> None:
    measured = peak_flops(config(), CPU)
    assert 1e9 < measured < 1e14
    assert math.isfinite(measured)


def test_an_unknown_card_is_told_with_those_there_are() -> None:
    with pytest.raises(ValidationError, match="'h1000' is no card that is known here; choose one of b200, h200"):
        config(watch={"card": "h1000"})
    with pytest.raises(ValidationError, match="minimum_workers is 4 and workers 2"):
        config(workers=2, launch={"minimum_workers": 4})
