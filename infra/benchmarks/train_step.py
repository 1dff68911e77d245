"""A training step of CLIP ViT-B/32 on CPU beside open_clip: the same random weights, pictures and texts, the same AdamW, one
process with all cores; samples a second and per CPU second, from pixels in bytes to updated weights.

Texts come twice: captions of natural length (CC3M validation; generated words without ../shared/data), and texts that fill
all 77 places. open_clip pads every text to 77 and computes on all of it; ours cuts the batch to its longest text, which changes
no result. Pictures are random bytes: their content costs nothing. Losses of the first step must be equal.

Ours runs as in a training run: Engine (DeepSpeed without ZeRO, one rank), objective, update. open_clip's step is that of its
`train_one_epoch` with float32 and no accumulation.

About 2 minutes on two quiet cores; STEP_BATCH (16), STEP_REPEATS (3), STEP_THREADS (all cores). On a machine that is shared
one thread and CPU seconds tell more than the clock:

    STEP_BATCH=4 STEP_REPEATS=1 STEP_THREADS=1 python infra/benchmarks/train_step.py     a quick look
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Row, peer, write
from torch_peers import TORCH_PEERS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
CAPTIONS = ROOT.parent / "shared" / "data" / "cc3m-validation-tsv" / "Validation_GCC-1.1.0-Validation.tsv"
MODEL = os.environ.get("STEP_MODEL", "clip-vit-b-32")
BATCH = int(os.environ.get("STEP_BATCH", "16"))
REPEATS = int(os.environ.get("STEP_REPEATS", "3"))
THREADS = int(os.environ.get("STEP_THREADS", "0")) or len(os.sched_getaffinity(0))


def captions() -> list[str]:
    """BATCH texts, drawn once and for all."""
    if CAPTIONS.exists():
        lines = [line.split("\t", 1)[0] for line in CAPTIONS.read_text("utf-8").splitlines()]
        return random.Random(0).sample(lines, BATCH)
    draw = random.Random(0)
    return [
        " ".join(draw.choices(["red", "dog", "on", "a", "beach", "photo", "of"], k=draw.randint(5, 16)))
        for _ in range(BATCH)
    ]


def our_step(folder: Path, weights: Path) -> Callable[[str], dict[str, float]]:
    """What a step on these texts gives: its loss, seconds, CPU seconds; writes the weights by open_clip's names first."""
    import torch
    from safetensors.torch import load_file, save_file

    from training.config import TrainConfig
    from training.data.batch import Batch
    from training.engine.engine import Engine
    from training.engine.ranks import join
    from training.foreign.links import to_theirs
    from training.foreign.openai_names import openai_links
    from training.objectives.objective import make_objective
    from training.spec import build, get_spec
    from training.step import compute

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    spec: Any = get_spec(MODEL)
    model = build(spec)
    named = to_theirs(openai_links(spec), {name: p.detach() for name, p in model.named_parameters()})
    save_file({name: value.clone().contiguous() for name, value in named.items()}, weights)
    config = TrainConfig.model_validate(
        {"model": MODEL, "global_batch_size": BATCH, "steps": 9, "warmup_steps": 0, "zero_stage": 0}
    )
    engine, objective = Engine(model, config, join()), make_objective(config, spec)
    pixels = torch.randint(0, 256, (BATCH, 3, spec.image_size, spec.image_size), dtype=torch.uint8)
    save_file({"pixels": pixels}, folder / "pixels.safetensors")
    keys = torch.zeros(BATCH, dtype=torch.long)

    def step(texts: str) -> dict[str, float]:
        tokens = load_file(folder / f"{texts}.safetensors")["tokens"].long()
        start, cpu = time.perf_counter(), time.process_time()
        loss = float(compute(engine, objective, Batch(pixels, tokens, None, tuple(range(BATCH))), keys).loss)
        engine.update(1e-6)
        return {"loss": loss, "seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}

    return step


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step = our_step(folder, folder / "weights.safetensors")
        texts = captions()
        job = {
            "folder": name,
            "natural": texts,
            "full": [" ".join(texts * 8)] * BATCH,
            "threads": THREADS,
            "model": MODEL,
        }
        with peer("train_step_open_clip", TORCH_PEERS, job, folder) as other:
            tokens = other.ask("load")["tokens"]
            rows = []
            for kind in ("natural", "full"):
                first, their = step(kind)["loss"], other.ask(kind)["loss"]
                print(f"{kind}: loss {first:.6f}, open_clip {their:.6f}", file=sys.stderr)
                if abs(first - their) > 2e-4:
                    raise SystemExit(f"{kind}: the losses differ; no speed is reported")
                runs: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
                for turn in range(REPEATS):
                    for who in (0, 1) if turn % 2 == 0 else (1, 0):
                        runs[who].append(other.ask(kind) if who else step(kind))
                texts = f"texts of {tokens[kind]['mean']:.1f} tokens, the longest {tokens[kind]['longest']}"
                case = f"{MODEL.removeprefix('clip-')}, {BATCH} pairs, {texts}"
                for key, unit in (("seconds", "samples/s"), ("cpu", "samples per CPU second")):
                    ours, theirs = (BATCH / statistics.median(each[key] for each in found) for found in runs)
                    rows.append(Row(case, "training step", unit, ours, theirs, "open_clip"))
    data = f"float32, {THREADS} threads; " + ("CC3M validation captions" if CAPTIONS.exists() else "generated captions")
    write("train_step", data, rows, {"open_clip": "3.3.0", "torch": "2.13.0"})


if __name__ == "__main__":
    main()
