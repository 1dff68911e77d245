"""Saved under one ZeRO stage and world size, resumed under another: how far is the loss curve from an undisturbed run's?

Every pair of stage (0-3, 2 and 3 with offload to the CPU) and ranks (1, 2 on gloo): 3 steps, save, 5 more. A cell is the largest
difference of the losses after resuming, on 1 and on 2 ranks, from those of the run that saved and went on. Then what a save costs:
the time that training waits, beside DeepSpeed's own save_checkpoint, which can be resumed under the same stage and ranks only.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from harness import write_facts
from torch import distributed as dist

from training.config import TrainConfig
from training.engine import Engine
from training.objectives.contrastive import contrastive_loss
from training.ranks import Ranks
from training.saving.parts import State, write_part
from training.saving.transfer import HostCopies, restore
from training.spec import REGISTRY, build

BATCH, BEFORE, AFTER = 8, 3, 5
FORMS: dict[str, dict[str, Any]] = {
    "0": {"zero_stage": 0},
    "1": {"zero_stage": 1},
    "2": {"zero_stage": 2},
    "3": {"zero_stage": 3},
    "2, offload": {"zero_stage": 2, "memory": {"offload_optimizer": "cpu"}},
    "3, offload": {"zero_stage": 3, "memory": {"offload_optimizer": "cpu", "offload_parameters": "cpu"}},
}
COSTS_MODEL = os.environ.get("MODEL", "clip-vit-b-32")
REPEATS = 3


def fresh_engine(form: str, ranks: Ranks, model: str = "clip-tiny") -> Engine:
    # Adam divides by sqrt(v) + epsilon: a small one would turn rounding into whole steps.
    optimizer = {"epsilon": 1e-3, "ema_decay": 0.9, "layer_decay": 0.8}
    base = {"model": model, "global_batch_size": BATCH, "steps": 99, "warmup_steps": 0, "learning_rate": 1e-3}
    torch.manual_seed(0)
    spec = REGISTRY[model].with_text(vocabulary=300, context=12) if model == "clip-tiny" else REGISTRY[model]
    return Engine(build(spec), TrainConfig.model_validate(base | FORMS[form] | {"optimizer": optimizer}), ranks)


def train(engine: Engine, ranks: Ranks, first: int, steps: int) -> list[float]:
    losses = []
    side = engine.model.spec.image_size
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        pixels = torch.randint(0, 256, (BATCH, 3, side, side), generator=generator, dtype=torch.uint8)
        tokens = torch.randint(1, 290, (BATCH, 12), generator=generator)
        tokens[:, 9] = 299
        rows = BATCH // ranks.world_size
        mine = slice(ranks.rank * rows, (ranks.rank + 1) * rows)
        loss = contrastive_loss(*engine.forward(pixels[mine], tokens[mine])[:3])[0]
        engine.backward(loss)
        losses.append(ranks.mean(loss))
        engine.update(1e-3)
    return losses


def one_rank(rank: int, world: int, folder: str, turn: int, saves: list[str], resumes: list[tuple[str, str]]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the life of this process
    store = dist.FileStore(f"{folder}/store{turn}", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    ranks = Ranks(rank, world, torch.device("cpu"), owns_group=True)
    found = {}
    for form in saves:
        engine = fresh_engine(form, ranks)
        train(engine, ranks, 0, BEFORE)
        target = Path(folder, f"{form} on {world}")
        target.mkdir(exist_ok=True)
        write_part(target, rank, HostCopies().take(engine.state()))
        ranks.wait_for_all()
        found[f"{form} on {world}"] = train(engine, ranks, BEFORE, AFTER)
        engine.close()
    for saved, form in resumes:
        engine = fresh_engine(form, ranks)
        restore(engine.state(), State(f"{folder}/{saved}", int(saved[-1])))
        found[f"{saved} -> {form} on {world}"] = train(engine, ranks, BEFORE, AFTER)
        engine.close()
    if rank == 0:
        torch.save(found, f"{folder}/results{turn}.pt")
    dist.destroy_process_group()


def curves(folder: str) -> dict[str, list[float]]:
    saved = [f"{form} on {world}" for world in (1, 2) for form in FORMS]
    pairs = [(each, form) for each in saved for form in FORMS]
    launches: list[tuple[int, list[str], list[tuple[str, str]]]] = [
        (1, [*FORMS], []),
        (2, [*FORMS], pairs),
        (1, [], pairs),
    ]
    found: dict[str, list[float]] = {}
    for turn, (world, saves, resumes) in enumerate(launches):
        torch.multiprocessing.spawn(one_rank, args=(world, folder, turn, saves, resumes), nprocs=world)
        found |= torch.load(f"{folder}/results{turn}.pt")
    return found


def table(found: dict[str, list[float]]) -> list[list[str]]:
    rows = []
    for world in (1, 2):
        for saved in FORMS:
            name = f"{saved} on {world}"
            cells = []
            for form in FORMS:
                after = [found[f"{name} -> {form} on {other}"] for other in (1, 2)]
                worst = [max(abs(a - b) for a, b in zip(found[name], each, strict=True)) for each in after]
                cells.append(" / ".join("0" if value == 0 else f"{value:.0e}" for value in worst))
            rows.append([f"{saved}, {world} rank{'s' if world > 1 else ''}", *cells])
    return rows


def costs(folder: str) -> list[list[str]]:
    """Of one rank under ZeRO 1: seconds that training waits for a save, seconds until it is on the disk, bytes."""
    ranks = Ranks(0, 1, torch.device("cpu"), owns_group=True)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    engine = fresh_engine("1", ranks, COSTS_MODEL)
    train(engine, ranks, 0, 1)
    copies = HostCopies()
    copies.take(engine.state())  # the first makes the buffers
    waits, writes, theirs = [], [], []
    for turn in range(REPEATS):
        begun = time.monotonic()
        part = copies.take(engine.state())
        waits.append(time.monotonic() - begun)
        target = Path(folder, f"ours{turn}")
        target.mkdir()
        write_part(target, 0, part)
        writes.append(time.monotonic() - begun)
        begun = time.monotonic()
        engine._engine.save_checkpoint(f"{folder}/theirs{turn}", tag="x", save_latest=False)
        theirs.append(time.monotonic() - begun)
    size = sum(path.stat().st_size for path in Path(folder, "ours0").rglob("*"))
    their_size = sum(path.stat().st_size for path in Path(folder, "theirs0").rglob("*") if path.is_file())
    engine.close()
    ours = (
        f"{statistics.median(waits):.2f} s, then {statistics.median(writes) - statistics.median(waits):.2f} s beside it"
    )
    return [
        [f"{COSTS_MODEL}: training waits", f"{ours} ({size / 1e9:.2f} GB, with checksums and the moving average)"],
        ["DeepSpeed's save_checkpoint", f"{statistics.median(theirs):.2f} s ({their_size / 1e9:.2f} GB, neither)"],
    ]


def main() -> None:
    import deepspeed

    with tempfile.TemporaryDirectory() as folder:
        rows = table(curves(folder))
        rows += [[name, value, *[""] * (len(FORMS) - 1)] for name, value in costs(folder)]
    data = (
        f"clip-tiny, batch {BATCH}, AdamW with layer decay and moving average, {BEFORE} steps, save, {AFTER} steps; a cell is the"
        " largest difference of losses after resuming on 1 / on 2 ranks"
    )
    headings = ["saved under ZeRO", *(f"resumed under {form}" for form in FORMS)]
    write_facts(
        "elastic_resume", data, headings, rows, {"deepspeed": deepspeed.__version__, "torch": torch.__version__}
    )


if __name__ == "__main__":
    main()
