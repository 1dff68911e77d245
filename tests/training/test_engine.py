"""DeepSpeed under ZeRO 0, 1, 2 and 3 on two gloo ranks against a plain loop over the whole batch in one process: losses, norms,
weights and their averages; offload, clipping, recomputation, frozen parts, LoRA, float16. One launch serves all."""

import functools
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_cells import SPEC, Changes, batch, config, engine_loop, fresh_model, join, must_equal, plain_loop
from ranks import on_ranks
from torch import Tensor
from torch import distributed as dist

from training.config import TrainConfig
from training.engine.engine import Engine
from training.engine.memory_estimate import estimate
from training.engine.ranks import Ranks
from training.models.clip import MAX_LOGIT_SCALE

STAGES = (0, 1, 2, 3)
RANKS = 2
OFFLOADED: dict[str, Changes] = {
    "1 offloaded": {"zero_stage": 1, "memory": {"offload_optimizer": "cpu"}},
    "2 offloaded": {"zero_stage": 2, "memory": {"offload_optimizer": "cpu"}},
    "3 offloaded": {"zero_stage": 3, "memory": {"offload_optimizer": "cpu", "offload_parameters": "cpu"}},
}
LONG: dict[str, Changes] = {str(stage): {"zero_stage": stage} for stage in STAGES} | OFFLOADED
LORA: Changes = {"start_from": "given", "optimizer": {"ema_decay": 0.9, "lora": {"rank": 2}}}
SHORT: dict[str, Changes] = {
    **{f"{stage} clipped": {"zero_stage": stage, "max_gradient_norm": 0.5} for stage in (0, 2)},
    **{f"{stage} averaged": {"zero_stage": stage, "optimizer": {"ema_decay": 0.9}} for stage in (1, 3)},
    **{f"{stage} frozen": {"zero_stage": stage, "freeze": ["image"]} for stage in (0, 3)},
    **{f"{stage} lora averaged": {"zero_stage": stage, **LORA} for stage in (0, 3)},
    "3 recomputed": {"zero_stage": 3, "memory": {"activation_checkpointing": True}},
    "3 rates": {"zero_stage": 3, "optimizer": {"layer_decay": 0.7, "text_rate": 0.5}},
    "1 sgd": {"zero_stage": 1, "optimizer": {"kind": "sgd"}},
    "0 lamb": {"zero_stage": 0, "optimizer": {"kind": "lamb"}},
}
OTHER: dict[str, Changes] = {
    **{f"{stage} float16": {"zero_stage": stage, "precision": "float16"} for stage in (0, 2)},
}
LONG_STEPS, SHORT_STEPS, OTHER_STEPS = 50, 3, 6

Results = dict[str, dict[str, Any]]


def one_rank(rank: int, folder: str) -> None:
    ranks = join(rank, RANKS, folder)
    results: Results = {}
    for steps, cells in ((LONG_STEPS, LONG), (SHORT_STEPS, SHORT), (OTHER_STEPS, OTHER)):
        for name, changes in cells.items():
            results[name] = engine_loop(changes, steps, ranks, weigh=steps == LONG_STEPS)
            if name == "2":  # the first of ZeRO 3 marks its hooks for the compiler
                results["imported"] = {each: each in sys.modules for each in ("mlflow", "torch._dynamo")}
    for stage in STAGES:
        results[f"limits {stage}"] = limits(stage, ranks)
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


def limits(stage: int, ranks: Ranks) -> dict[str, Any]:
    """What a gradient that is infinite on one rank does; then logit_scale, pushed over its limit from just below it."""
    model = fresh_model()
    with torch.no_grad():
        model.logit_scale.fill_(MAX_LOGIT_SCALE - 1e-4)
    engine, rows = Engine(model, config({"zero_stage": stage}, ranks=RANKS), ranks), batch(0)
    assert rows.tokens is not None
    before = engine.weights()
    for pushed in (float("inf") if ranks.rank == 1 else 1.0, 10.0, 10.0):
        image, text, scale = engine.forward(rows.pixels[:4], rows.tokens[:4])
        engine.backward(-scale.sum() * pushed + 0 * (image.sum() + text.sum()))
        norm = engine.update(0.1)
        if pushed != 10.0:
            bad, after = norm, engine.weights()
    weights = engine.weights()
    engine.close()
    unmoved = all(torch.equal(after[name], weight) for name, weight in before.items())
    return {"norm": bad, "unmoved": unmoved, "scale": float(weights.get("logit_scale", torch.zeros(1)))}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder: Path = tmp_path_factory.mktemp("engine")
    on_ranks(RANKS, one_rank, str(folder))
    loaded: Results = torch.load(folder / "results.pt")
    return loaded


@functools.cache
def plain(kind: str, steps: int) -> dict[str, Any]:
    """The plain loop of a cell; where parameters and moments lie, and what is computed twice, is nothing to it."""
    changes = next((changes for name, changes in SHORT.items() if name.endswith(kind)), {}) if kind else {}
    kept = {key: value for key, value in changes.items() if key not in ("zero_stage", "memory")}
    return plain_loop(kept | {"zero_stage": 0}, steps)


@pytest.mark.parametrize("name", LONG)
def test_fifty_steps_under_every_stage_are_those_of_a_plain_loop(results: Results, name: str) -> None:
    must_equal(results[name], plain("", LONG_STEPS))


def test_a_rank_starts_without_torch_s_compiler_and_without_mlflow(results: Results) -> None:
    """Which DeepSpeed and torch's optimizers import if left alone: 3 s of each rank's start."""
    assert results["imported"] == {"mlflow": False, "torch._dynamo": False}


@pytest.mark.parametrize("name", SHORT)
def test_what_else_an_engine_does_is_what_a_plain_loop_does(results: Results, name: str) -> None:
    wanted = plain(name[2:], SHORT_STEPS)
    must_equal(results[name], wanted)
    if "averaged" in name:
        assert list(results[name]["average"]) == list(wanted["average"])
        for each, weight in wanted["average"].items():
            torch.testing.assert_close(results[name]["average"][each], weight, rtol=0, atol=1e-6)
    if "frozen" in name:
        start: dict[str, Tensor] = fresh_model().state_dict()
        moved = {each for each, weight in results[name]["weights"].items() if not torch.equal(weight, start[each])}
        assert moved
        assert not any(each.startswith("visual.") for each in moved)


@pytest.mark.parametrize("stage", [0, 3])
def test_lora_moves_the_matrices_that_it_names_and_no_other(results: Results, stage: int) -> None:
    found, start = results[f"{stage} lora averaged"], fresh_model().state_dict()
    assert list(found["weights"]) == list(start)
    moved = {name for name, weight in found["weights"].items() if not torch.allclose(weight, start[name], atol=1e-7)}
    layers = ("in_proj.weight", "out_proj.weight", "c_fc.weight", "c_proj.weight")
    assert moved == {name for name in start if name.endswith(layers)}
    change = found["weights"]["text.transformer.blocks.0.c_fc.weight"] - start["text.transformer.blocks.0.c_fc.weight"]
    assert torch.linalg.matrix_rank(change.double(), rtol=1e-3) <= 2


@pytest.mark.parametrize("stage", [0, 2])
def test_float16_skips_steps_until_its_scale_fits_and_then_learns(results: Results, stage: int) -> None:
    found = results[f"{stage} float16"]
    skipped = int(found["metrics"]["skipped_steps"])
    assert found["metrics"]["loss_scale"] == 2.0 ** (16 - skipped)
    assert [norm == 0 for norm in found["norms"]] == [step < skipped for step in range(OTHER_STEPS)]
    # Once it takes steps, they are those of float32 but for the rounding of products.
    taken = found["norms"][skipped:]
    assert taken[0] == pytest.approx(plain("", LONG_STEPS)["norms"][0], rel=0.05) or skipped
    assert found["losses"][0] == pytest.approx(plain("", LONG_STEPS)["losses"][0], abs=0.02)


@pytest.mark.parametrize("stage", STAGES)
def test_a_gradient_that_is_not_finite_moves_nothing_and_logit_scale_stops_at_its_limit(
    results: Results, stage: int
) -> None:
    found = results[f"limits {stage}"]
    assert not math.isfinite(found["norm"])
    assert found["unmoved"]
    assert found["scale"] == pytest.approx(MAX_LOGIT_SCALE, abs=1e-6)


@pytest.mark.parametrize("name", LONG)
def test_a_rank_holds_what_the_closed_form_says(results: Results, name: str) -> None:
    """Between two steps: weights, moments, and under ZeRO 3 the gradients' partition and bucket, which it keeps."""
    settings: TrainConfig = config(LONG[name], ranks=RANKS)
    said = estimate(SPEC, settings, RANKS)
    held = said.weights + said.moments + said.host
    if settings.zero_stage == 3:
        held += said.gradients + said.buckets
    assert results[name]["bytes"] == pytest.approx(held, rel=0.2)
