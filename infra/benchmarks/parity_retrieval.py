"""Recalls of ours beside CLIP_benchmark's on the same embeddings, with CPU seconds and memory; a part of evaluation_parity.

PARITY_IMAGES=5000 is COCO's size, five captions a picture; CLIP_benchmark then takes 7 GB.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Peer
from parity_row import Row, row
from safetensors.torch import load_file, save_file

from evaluation.protocols.ranks import DEPTHS, Matches, match_ranks

IMAGES = int(os.environ.get("PARITY_IMAGES", 5000))


def megabytes(reset: bool = False) -> float:
    """This process's highest memory since it was last reset: Linux counts anew when asked."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def recalls(folder: Path) -> dict[str, Any]:
    """Ours, in a process of its own so that its memory can be told."""
    given = {name: each.numpy() for name, each in load_file(folder / "retrieval.safetensors").items()}
    before, start = megabytes(reset=True), time.process_time()
    owned = Matches(np.arange(len(given["owners"])), given["owners"].astype(np.int64))
    ways = {
        "text_to_image": match_ranks(given["texts"], given["images"], owned).first,
        "image_to_text": match_ranks(given["images"], given["texts"], owned.turned()).first,
    }
    found = {
        f"recall@{depth}/{name}": float((first < depth).mean()) for depth in DEPTHS for name, first in ways.items()
    }
    seconds = time.process_time() - start
    return {
        "recalls": found,
        "seconds": seconds,
        "megabytes": megabytes() - before,
    }


def retrieval_rows(theirs: Peer, folder: Path) -> list[Row]:
    random = np.random.default_rng(2)
    images = random.normal(size=(IMAGES, 512)).astype(np.float32)
    owners = np.repeat(np.arange(IMAGES), 5)
    texts = images[owners] + 9 * random.normal(size=(5 * IMAGES, 512)).astype(np.float32)
    unit = {
        name: each / np.linalg.norm(each, axis=1, keepdims=True)
        for name, each in (("images", images), ("texts", texts))
    }
    given = {name: torch.tensor(each) for name, each in unit.items()} | {"owners": torch.tensor(owners)}
    save_file(given, folder / "retrieval.safetensors")
    told = theirs.ask("retrieval")
    command = [sys.executable, __file__, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    size = f"{IMAGES:,} pictures, {5 * IMAGES:,} captions"
    keys = sorted(told["recalls"])
    assert all(ours[key] <= told[key] for key in ("seconds", "megabytes")), (ours, told)
    mine, other = ([found["recalls"][key] for key in keys] for found in (ours, told))
    figures = [
        [
            8,
            f"{what}, {size}",
            "CLIP_benchmark",
            f"{ours[key]:.1f}",
            f"{told[key]:.1f}",
            f"{told[key] / ours[key]:.0f} x",
            "1 x",
        ]
        for what, key in (("retrieval, CPU s", "seconds"), ("retrieval, MB on top", "megabytes"))
    ]
    return [row(8, f"recall at 1, 5, 10 both ways, {size}", "CLIP_benchmark", mine, other, 1e-6), *figures]


if __name__ == "__main__":
    print(json.dumps(recalls(Path(sys.argv[1]))))
