"""DeepSpeed under settings of all kinds on some gloo ranks, and a plain loop over the whole batch in one process beside it.

Used by tests/training/test_engine.py and infra/benchmarks/zero_stages.py.
"""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist

from training.config import TrainConfig
from training.data.batch import Batch
from training.engine.engine import Engine
from training.engine.ranks import Ranks
from training.models.base import Model
from training.objectives.objective import make_objective
from training.optim.groups import parameter_groups
from training.optim.lora import add_factors, merged
from training.optim.make import make_optimizer
from training.spec import build
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec, ImageTower, TextTower
from training.step import compute

BATCH = 8
RATE = 1e-3
SPEC = ClipSpec(
    "cells",
    16,
    ImageTower(size=16, patch=4, width=64, layers=2, heads=2),
    TextTower(width=64, layers=2, heads=2, context=10, vocabulary=300),
    activation="gelu",
)
WIDE = replace(SPEC, text=TextTower(width=384, layers=1, heads=6, context=10, vocabulary=1367))
"""Halves of its word embedding and of its MLP's matrices are larger than 1 MiB, some no whole number of disk blocks."""

Changes = Mapping[str, Any]


def config(changes: Changes, batch: int = BATCH, ranks: int = 1) -> TrainConfig:
    """Adam divides by sqrt(v) + epsilon: a small epsilon would turn rounding into whole steps."""
    values: dict[str, Any] = {
        "model": "clip-tiny",
        "global_batch_size": batch,
        "workers": ranks,
        "steps": 50,
        "warmup_steps": 0,
        "learning_rate": RATE,
        "optimizer": {"epsilon": 1e-3},
    }
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(values.get(key), dict) else value
    return TrainConfig.model_validate(values)


def fresh_model(spec: ModelSpec = SPEC) -> Any:
    torch.manual_seed(0)
    return build(spec)


def batch(step: int, spec: ModelSpec = SPEC, rows: int = BATCH) -> Batch:
    generator = torch.Generator().manual_seed(step)
    side = spec.image_size
    pixels = torch.randint(0, 256, (rows, 3, side, side), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, 290, (rows, 10), generator=generator)
    tokens[:, 8] = 299
    return Batch(pixels, tokens)


def plain_loop(changes: Changes, steps: int, spec: ModelSpec = SPEC) -> dict[str, Any]:
    """What every engine must equal: losses, gradient norms, weights, and their average."""
    settings, model = config(changes), fresh_model(spec)
    lora = settings.optimizer.lora
    if lora.rank:
        add_factors(model, lora)

    def weights() -> dict[str, Tensor]:
        named = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        return merged(named, lora) if lora.rank else named

    if settings.freeze:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith("visual."))
    optimizer = make_optimizer(parameter_groups(model, settings), settings)
    average, decay = weights(), settings.optimizer.ema_decay
    objective = make_objective(settings, spec)
    losses, norms = [], []
    for step in range(steps):
        rows = batch(step, spec)
        loss, _ = objective.loss(model(*objective.inputs(rows)), rows)
        optimizer.zero_grad()
        loss.backward()
        learning = [p for p in model.parameters() if p.grad is not None]
        norms.append(float(nn.utils.clip_grad_norm_(learning, settings.max_gradient_norm or float("inf"))))
        optimizer.step()
        losses.append(float(loss.detach()))
        average = {name: decay * average[name] + (1 - decay) * new for name, new in weights().items()}
    return {"losses": losses, "norms": norms, "weights": weights(), "average": average}


def engine_loop(
    changes: Changes,
    steps: int,
    ranks: Ranks,
    spec: ModelSpec = SPEC,
    rows: int = BATCH,
    model: Model | None = None,
    weigh: bool = True,
) -> dict[str, Any]:
    """The same by the engine: this rank's rows of the same batches. Where `weigh`, with the bytes that it holds, which takes a
    look at every object."""
    settings, before = config(changes, rows, ranks.world_size), held_bytes() if weigh else 0
    engine = Engine(model if model is not None else fresh_model(spec), settings, ranks)
    took = take_steps(engine, settings, ranks, range(steps), spec)
    held = held_bytes() - before if weigh else 0
    out = {
        **took,
        "weights": engine.weights(),
        "average": engine.averaged_weights(),
        "metrics": engine.metrics(),
        "bytes": held,
    }
    engine.close()
    return out


def take_steps(
    engine: Engine, settings: TrainConfig, ranks: Ranks, steps: range, spec: ModelSpec = SPEC
) -> dict[str, Any]:
    """Losses, gradient norms and seconds of steps that are known by their number."""
    objective, rows = make_objective(settings, spec), settings.global_batch_size
    share = rows // ranks.world_size
    mine, keys = slice(ranks.rank * share, (ranks.rank + 1) * share), torch.zeros(share, dtype=torch.long)
    losses, norms, seconds = [], [], []
    for step in steps:
        started = time.perf_counter()
        whole = batch(step, spec, rows)
        assert whole.tokens is not None
        part = Batch(whole.pixels[mine], whole.tokens[mine])
        losses.append(ranks.mean(compute(engine, objective, part, keys, settings.memory.chunks).loss))
        norms.append(engine.update(RATE))
        seconds.append(time.perf_counter() - started)
    return {"losses": losses, "norms": norms, "seconds": seconds}


def held_bytes() -> int:
    """Of all tensors that are alive in this process, each storage once: what a rank holds between two steps."""
    import gc
    import warnings

    gc.collect()
    seen: dict[int, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gc shows deprecated things that warn when they are looked at
        for each in gc.get_objects():
            if isinstance(each, Tensor):
                storage = each.untyped_storage()
                seen[storage.data_ptr()] = storage.nbytes()
    return sum(seen.values())


def join(rank: int, world_size: int, folder: str) -> Ranks:
    """For a process that was spawned as one of `world_size`."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the life of this process
    store = dist.FileStore(f"{folder}/store", world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    return Ranks(rank, world_size, torch.device("cpu"), owns_group=True)


def must_equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Losses, gradient norms and weights of two loops."""
    assert found["losses"] == pytest.approx(wanted["losses"], abs=1e-5)
    assert found["norms"] == pytest.approx(wanted["norms"], rel=1e-3)
    assert list(found["weights"]) == list(wanted["weights"])
    for name, weight in wanted["weights"].items():
        torch.testing.assert_close(found["weights"][name], weight, rtol=0, atol=1e-5)
