"""Saved under one ZeRO stage and world size, resumed under another: how far is the loss curve from an undisturbed run's?

Every pair of stage (0-3, 2 and 3 with offload to the CPU) and ranks (1, 2 on gloo): 3 steps, save, 3 more. A cell is the largest
difference of the losses after resuming, on 1 and on 2 ranks, from those of the run that saved and went on. Then what a save costs:
the time that training waits, beside DeepSpeed's own save_checkpoint, which can be resumed under the same stage and ranks only.

About 4 minutes on two quiet cores and 2 GB of temporary files. MODEL is the model whose saves are timed (clip-small), FORMS a
shorter list of stages for a quick look ("0;3 offload").
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from harness import write_facts
from torch import distributed as dist

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from elastic_cells import BATCH, STAGES, fresh_engine, train  # noqa: E402

from pipeline.execution.leave import leave  # noqa: E402
from training.engine.ranks import Ranks  # noqa: E402
from training.saving.parts import State, write_part  # noqa: E402
from training.saving.transfer import HostCopies, restore  # noqa: E402

BEFORE, AFTER = 3, 3
FORMS = os.environ.get("FORMS", ";".join(STAGES)).split(";")
COSTS_MODEL = os.environ.get("MODEL", "clip-small")
REPEATS = 2


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
    leave(0)


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
        size, their_size = bytes_of(target), bytes_of(Path(folder, f"theirs{turn}"))
        shutil.rmtree(target)
        shutil.rmtree(f"{folder}/theirs{turn}")
    engine.close()
    ours = (
        f"{statistics.median(waits):.2f} s, then {statistics.median(writes) - statistics.median(waits):.2f} s beside it"
    )
    return [
        [f"{COSTS_MODEL}: training waits", f"{ours} ({size / 1e9:.2f} GB, with checksums and the moving average)"],
        ["DeepSpeed's save_checkpoint", f"{statistics.median(theirs):.2f} s ({their_size / 1e9:.2f} GB, neither)"],
    ]


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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
