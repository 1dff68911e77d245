"""The gradient contract: for each loss, number of ranks (gloo), chunks, ZeRO stage and share of patches left out, one update by
the engine against the same update by plain torch in one process with the whole batch; and what open_clip's training step does
in the cells that it has (its `train_one_epoch`, DDP in place of ZeRO).

Updates are SGD's, so an update is the gradient. Two figures: the norm of the difference of all weights' updates divided by the
norm of the right update, and how much of its right update logit_scale makes. Ours must be below 1e-6 and 1.

About 2 minutes on two quiet cores; 96 cells of ours, 48 of open_clip's.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import peer, write_facts
from torch_peers import TORCH_PEERS

ROOT = Path(__file__).resolve().parents[2]
RANKS = tuple(int(each) for each in os.environ.get("CONTRACT_RANKS", "1,2,4").split(","))
FLAGS = ("no flags", "--local-loss", "--gather-with-grad", "--local-loss --gather-with-grad")
OURS = """
import sys, torch, gradient_cells
from pipeline.execution.leave import leave
ranks, folder = int(sys.argv[1]), sys.argv[2]
def one_rank(rank):
    gradient_cells.one_rank(rank, ranks, folder, gradient_cells.CELLS)
    leave(0)
if __name__ == "__main__":
    torch.multiprocessing.spawn(one_rank, nprocs=ranks)
"""


def ours(ranks: int) -> dict[tuple[str, int, int, float], tuple[float, float, float]]:
    """(loss, chunks, stage, dropout) -> relative error, difference of logit_scale and bias, logit_scale's share."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from gradient_cells import CELLS

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "ours.py")
        script.write_text(OURS, "utf-8")
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        subprocess.run([sys.executable, script, str(ranks), folder], check=True, env=environment)
        found = json.loads(Path(folder, "errors.json").read_text("utf-8"))
    return {(c.loss, c.chunks, c.stage, c.dropout): tuple(each) for c, each in zip(CELLS, found, strict=True)}


def their_cells() -> list[dict[str, Any]]:
    cells = itertools.product((*(("contrastive", flags) for flags in FLAGS), ("sigmoid", "")), (1, 4), (0.0, 0.5))
    return [{"loss": l, "flags": flags, "chunks": k, "dropout": share} for (l, flags), k, share in cells]  # noqa: E741


def theirs(cells: list[dict[str, Any]], folder: str) -> dict[tuple[Any, ...], str]:
    """(loss, ranks, chunks, dropout, flags) -> what stands in the table."""
    found = {}
    with peer("gradient_contract_open_clip", TORCH_PEERS, {"cells": cells}, Path(folder)) as other:
        for ranks in RANKS:
            for cell, (error, share) in zip(cells, other.ask(str(ranks))["found"], strict=True):
                place = cell["loss"], ranks, cell["chunks"], cell["dropout"], cell["flags"]
                found[place] = f"{error:.0e}, x {share:.3f}"
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        peers = theirs(their_cells(), folder)
    rows: list[list[Any]] = []
    worst = 0.0
    for ranks in RANKS:
        found = ours(ranks)
        worst = max(worst, *(max(error, shared, abs(share - 1)) for error, shared, share in found.values()))
        for loss, chunks, dropout in itertools.product(("contrastive", "sigmoid"), (1, 4), (0.0, 0.5)):
            mine = [f"{found[loss, chunks, stage, dropout][0]:.0e}" for stage in range(4)]
            # One rank has nothing to gather, and the sigmoid loss has no such flags: its texts go round.
            flags = ("",) if loss == "sigmoid" else FLAGS if ranks > 1 else FLAGS[:1]
            others = [peers[loss, ranks, chunks, dropout, each] for each in flags]
            rows.append([loss, ranks, chunks, f"{dropout:g}", *mine, *others, *["-"] * (len(FLAGS) - len(others))])
    headings = ["loss", "ranks", "chunks", "patches left out", *(f"ZeRO {stage}" for stage in range(4))]
    headings += ["open_clip", *(f"open_clip {flags}" for flags in FLAGS[1:])]
    data = (
        "a CLIP of two layers, 16 pairs, one SGD step in float32: the norm of the update's error divided by that of the right"
        f" update (openwit: {worst:.0e} at most, logit_scale and bias included), and behind open_clip's how many times its"
        " right update logit_scale makes"
    )
    rows.sort(key=lambda row: row[:2])
    write_facts("gradient_contract", data, headings, rows, {"open_clip": "3.3.0"})
    if worst >= 1e-6:
        raise SystemExit(f"the contract is broken: {worst:.1e}")


if __name__ == "__main__":
    main()
