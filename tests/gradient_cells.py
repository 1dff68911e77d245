"""The gradient contract's cells: one update by the engine under (ranks, loss, chunks, ZeRO stage, patch dropout) against one by
plain torch on the whole batch in one process. SGD with rate 1 and nothing else, so the update is the gradient.

Used by tests/training/test_step.py on some ranks and by infra/benchmarks/gradient_contract.py on all.
"""

import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from training.config import TrainConfig
from training.data.batch import Batch
from training.data.order import row_keys
from training.engine.engine import Engine
from training.engine.ranks import Ranks
from training.models.draws import row_draws
from training.objectives.objective import make_objective
from training.spec import build
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.specs.towers import ImageTower, TextTower
from training.step import compute

ROWS = 16
SPEC = ClipSpec(
    "cells",
    16,
    ImageTower(size=16, patch=4, width=32, layers=2, heads=2),
    TextTower(width=32, layers=2, heads=2, context=10, vocabulary=60),
    activation="gelu",
)


@dataclass(frozen=True)
class Cell:
    loss: str
    chunks: int
    stage: int
    dropout: float


CELLS = [Cell(*each) for each in itertools.product(("contrastive", "sigmoid"), (1, 4), (0, 1, 2, 3), (0.0, 0.5))]


def config(cell: Cell, ranks: int) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "model": "clip-tiny",
            "global_batch_size": ROWS,
            "workers": ranks,
            "steps": 1,
            "warmup_steps": 0,
            "zero_stage": cell.stage,
            "weight_decay": 0.0,
            "max_gradient_norm": 0.0,
            "learning_rate": 1.0,
            "patch_dropout": cell.dropout,
            "objective": {"kind": cell.loss},
            "memory": {"chunks": cell.chunks},
            "optimizer": {"kind": "sgd", "beta1": 0.0},
        }
    )


def spec(cell: Cell) -> ModelSpec:
    return replace(SPEC, logit_bias=cell.loss == "sigmoid")


def model(cell: Cell) -> Any:
    torch.manual_seed(0)
    made = build(spec(cell))
    made.patch_dropout = cell.dropout
    return made


def whole_batch() -> Batch:
    """Texts of different lengths: each chunk is trimmed to another one than the whole batch."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (ROWS, 3, 16, 16), generator=generator, dtype=torch.uint8)
    tokens = torch.zeros(ROWS, 10, dtype=torch.long)
    for row in range(ROWS):
        words = 1 + row * 5 % 8
        tokens[row, :words] = torch.randint(1, 58, (words,), generator=generator)
        tokens[row, words] = 59
    return Batch(pixels, tokens, None, tuple(range(ROWS)))


def plain_loss(kind: str, outputs: tuple[Tensor, ...]) -> Tensor:
    """The papers' pseudo-code: CLIP's figure 3, SigLIP's algorithm 1."""
    image, text, scale = outputs[:3]
    logits = scale * image @ text.T
    if kind == "sigmoid":
        return -torch.nn.functional.logsigmoid((2 * torch.eye(ROWS) - 1) * (logits + outputs[3])).sum() / ROWS
    entropy, places = torch.nn.functional.cross_entropy, torch.arange(ROWS)
    return (entropy(logits, places) + entropy(logits.T, places)) / 2


def plain_update(cell: Cell) -> dict[str, Tensor]:
    """The weights after one step, by name; the same for every stage and number of chunks."""
    made, batch = model(cell), whole_batch()
    with row_draws(torch.from_numpy(row_keys(0, 0, ROWS))):
        plain_loss(cell.loss, made(batch.pixels, batch.tokens)).backward()
    return {name: p.detach() - (0 if p.grad is None else p.grad) for name, p in made.named_parameters()}


def engine_update(cell: Cell, ranks: Ranks) -> dict[str, Tensor]:
    """The weights after one step of the engine, on the first rank."""
    settings, batch, rows = config(cell, ranks.world_size), whole_batch(), ROWS // ranks.world_size
    mine = slice(ranks.rank * rows, (ranks.rank + 1) * rows)
    engine = Engine(model(cell), settings, ranks)
    compute(
        engine,
        make_objective(settings, spec(cell)),
        Batch(batch.pixels[mine], batch.tokens[mine], None, batch.samples[mine]),
        torch.from_numpy(row_keys(0, mine.start, rows)),
        settings.memory.chunks,
    )
    engine.update(1.0)
    weights = engine.weights()
    engine.close()
    return weights


def errors(ranks: Ranks, cells: Sequence[Cell]) -> list[tuple[float, float, float]]:
    """For each cell how far its update is from the plain one: the norm of the difference of all weights, divided by that
    of the plain update; the largest difference of logit_scale and logit_bias; the share of its update that logit_scale
    made, 1 where all is well. On the first rank; empty on others."""
    found = []
    for cell in cells:
        weights = engine_update(cell, ranks)
        if ranks.is_first:
            wanted, start = plain_update(cell), dict(model(cell).named_parameters())
            apart = {name: (weights[name] - value).double() for name, value in wanted.items()}
            moved = {name: (value - start[name].detach()).double() for name, value in wanted.items()}
            shared = [float(value.abs()) for name, value in apart.items() if name.startswith("logit_")]
            share = 1 + float(apart["logit_scale"] / moved["logit_scale"])
            found.append((_norm(apart) / _norm(moved), max(shared), share))
    return found


def _norm(values: dict[str, Tensor]) -> float:
    return float(torch.stack([value.square().sum() for value in values.values()]).sum().sqrt())


def one_rank(rank: int, world_size: int, folder: str, cells: Sequence[Cell]) -> None:
    """For torch.multiprocessing.spawn: leaves folder/errors.json."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the life of this process
    store = dist.FileStore(f"{folder}/store", world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    found = errors(Ranks(rank, world_size, torch.device("cpu"), owns_group=True), cells)
    if rank == 0:
        Path(folder, "errors.json").write_text(json.dumps(found), "utf-8")
    dist.destroy_process_group()
