"""ZeRO 0 to 3 and offload on two gloo ranks: 50 steps beside a plain loop over the whole batch, and what a rank holds.

    make bench NAME=zero_stages        # about 3 minutes on 2 quiet cores; needs libaio-dev

The largest difference of the 50 losses from the plain loop's (float32), the bytes of all tensors that one rank holds between two
steps beside the closed form of training/engine/memory_estimate.py, and the median seconds of a step.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from engine_cells import SPEC, WIDE, Changes, config, engine_loop, join, plain_loop  # noqa: E402
from harness import write_facts  # noqa: E402

from pipeline.execution.leave import leave  # noqa: E402
from training.engine.memory_estimate import estimate  # noqa: E402

STEPS, RANKS = 50, 2
CELLS: dict[str, Changes] = {
    "ZeRO 0": {"zero_stage": 0},
    "ZeRO 1": {"zero_stage": 1},
    "ZeRO 2": {"zero_stage": 2},
    "ZeRO 3": {"zero_stage": 3},
    "ZeRO 1, optimizer on the CPU": {"zero_stage": 1, "memory": {"offload_optimizer": "cpu"}},
    "ZeRO 2, optimizer on the CPU": {"zero_stage": 2, "memory": {"offload_optimizer": "cpu"}},
    "ZeRO 3, all on the CPU": {"zero_stage": 3, "memory": {"offload_optimizer": "cpu", "offload_parameters": "cpu"}},
    "ZeRO 3, recomputed blocks": {"zero_stage": 3, "memory": {"activation_checkpointing": True}},
    "ZeRO 2, 4 chunks": {"zero_stage": 2, "memory": {"chunks": 4}},
}
ON_NVME: dict[str, Changes] = {
    "ZeRO 3, optimizer on NVMe": {"zero_stage": 3, "memory": {"offload_optimizer": "nvme"}},
    "ZeRO 3, all on NVMe": {"zero_stage": 3, "memory": {"offload_optimizer": "nvme", "offload_parameters": "nvme"}},
}
"""With a model whose pieces are large enough for a disk."""


def one_rank(rank: int, folder: str) -> None:
    ranks = join(rank, RANKS, folder)
    found = {name: engine_loop(changes, STEPS, ranks) for name, changes in CELLS.items()}
    for name, changes in ON_NVME.items():
        found[name] = engine_loop(on_disk(changes, folder), STEPS, ranks, WIDE)
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    leave(0)


def on_disk(changes: Changes, folder: str) -> Changes:
    return {**changes, "memory": {**changes["memory"], "nvme_path": f"{folder}/nvme"}}


def row(name: str, found: dict[str, Any], wanted: list[float]) -> list[Any]:
    spec = WIDE if name in ON_NVME else SPEC
    settings = config(on_disk(ON_NVME[name], "") if name in ON_NVME else CELLS[name], ranks=RANKS)
    said = estimate(spec, settings, RANKS)
    held = said.weights + said.moments + said.host
    held += said.gradients + said.buckets if settings.zero_stage == 3 else 0
    apart = max(abs(a - b) for a, b in zip(found["losses"], wanted, strict=True))
    milliseconds = 1000 * statistics.median(found["seconds"])
    return [name, f"{apart:.1e}", round(found["bytes"] / 2**20, 2), round(held / 2**20, 2), round(milliseconds, 1)]


def main() -> None:
    torch.set_num_threads(1)
    wanted, wide = (plain_loop({"zero_stage": 0}, STEPS, spec)["losses"] for spec in (SPEC, WIDE))
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(one_rank, args=(folder,), nprocs=RANKS)
        found = torch.load(f"{folder}/found.pt")
    write_facts(
        "zero_stages",
        f"a CLIP of {SPEC.parameters():,} parameters (on NVMe one of {WIDE.parameters():,}), 8 pairs a step on {RANKS} gloo ranks,"
        f" {STEPS} steps of AdamW in float32",
        [
            "",
            "largest difference of a loss from a plain loop",
            "MiB of a rank, counted",
            "MiB, closed form",
            "ms a step",
        ],
        [row(name, found[name], wide if name in ON_NVME else wanted) for name in (*CELLS, *ON_NVME)],
        {"torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
