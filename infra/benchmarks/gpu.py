"""Training steps on one GPU: images/s and MFU of CLIP ViT-B/32 and L/14 beside open_clip, of ViT-B/16 and iGPT-S alone.

    python infra/benchmarks/gpu.py                # 10 minutes at most
    python infra/benchmarks/gpu.py --tiny         # tiny models, on a CPU too, in a minute, to see that it runs; writes nothing

Writes infra/benchmarks/results/gpu.json (or --out FILE): the card's name, and for each model, batch, number of text tokens and
way (plain, compiled, by the engine, open_clip) images/s, MFU, peak GiB and how many times open_clip's speed; then the table in
README.md. Nothing else is written.

Needs torch and this repository; neither Ray nor MLflow. Where open_clip is missing its columns stay empty, and where DeepSpeed is,
the rows of the engine. Each case runs ours and open_clip in turns (ours, peer, ours, peer, ...), same batch on the GPU already,
same loss, same fused AdamW, bfloat16 autocast, so it is the model's step alone: no loader. Each figure is written as soon as it is
there; a case that does not fit in memory is tried again with half of the batch, and one for which no time is left is left out.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import torch  # noqa: E402
from gpu_steps import Case, Step, by_engine, ours, theirs  # noqa: E402

from training.spec import REGISTRY  # noqa: E402
from training.watching.cards import card_called  # noqa: E402

HEADINGS = [
    "model", "batch", "text tokens", "compiled", "by", "images/s", "MFU", "peak GiB", "beside open_clip",
]  # fmt: skip
NATURAL_TOKENS = 24
"""Of an alt text with start and end, rounded up to 8 (facts of CLIP's own data are not published; LAION's median is about 16)."""


CASES = [
    Case("clip-vit-b-32", "ViT-B-32", 1024, 77, False),
    Case("clip-vit-b-32", "ViT-B-32", 1024, NATURAL_TOKENS, False),
    Case("clip-vit-b-32", "ViT-B-32", 1024, 77, True),
    Case("clip-vit-b-32", "ViT-B-32", 1024, NATURAL_TOKENS, True),
    Case("clip-vit-l-14", "ViT-L-14", 128, 77, False),
    Case("clip-vit-l-14", "ViT-L-14", 128, 77, True),
    Case("vit-b-16", None, 256, 0, False),
    Case("vit-b-16", None, 256, 0, True),
    Case("igpt-s", None, 32, 0, False),
    Case("igpt-s", None, 32, 0, True),
]
TINY = [
    Case("clip-tiny", "tiny", 4, NATURAL_TOKENS, False),
    Case("igpt-tiny", None, 4, 0, False),
    Case("vit-tiny-8", None, 4, 0, True),
]


def seconds_per_step(step: Step, device: torch.device, seconds: float) -> float:
    """The mean over about so many seconds, at least two steps."""
    synchronize(device)
    started, steps = time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - started < seconds:
        step()
        steps += 1
        if steps % 4 == 0:
            synchronize(device)
    synchronize(device)
    return (time.perf_counter() - started) / steps


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(case: Case, device: torch.device, peak: float, seconds: float) -> Iterator[list[Any]]:
    """A row for each of ours, the engine and open_clip, timed in turns; peaks of memory apart, at their first steps."""
    steps, memory = {}, {}
    for name, make in (("openwit", ours), ("openwit's engine", by_engine), ("open_clip", theirs)):
        if (step := make(case, device)) is None:
            continue
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        for _ in range(3):  # compilation, and the choice of kernels
            step()
        synchronize(device)
        others = max(0, before - weights_bytes(case)) if steps else 0
        memory[name] = (torch.cuda.max_memory_allocated(device) - others) / 2**30 if device.type == "cuda" else 0.0
        steps[name] = step
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(3):
        for name in list(steps) if turn % 2 == 0 else list(reversed(steps)):
            times[name].append(seconds_per_step(steps[name], device, seconds))
    speeds = {name: steps[name].rows / statistics.median(each) for name, each in times.items()}
    for name, speed in speeds.items():
        mfu = 3 * steps[name].flops * speed / peak if peak else 0.0
        ratio = speed / speeds["open_clip"] if "open_clip" in speeds else 0.0
        tokens = "77 (24 of them words)" if name == "open_clip" and case.tokens not in (0, 77) else case.tokens or "-"
        yield [
            case.model, case.batch, tokens, "yes" if case.compiled else "no", name, round(speed, 1),
            f"{100 * mfu:.1f} %" if peak else "-", round(memory[name], 1), f"{ratio:.2f}x" if ratio else "-",
        ]  # fmt: skip


def weights_bytes(case: Case) -> int:
    """Weights, gradients and moments of one copy of the model, in float32."""
    return 16 * REGISTRY[case.model].parameters()


def fitting(case: Case, device: torch.device, peak: float, seconds: float) -> list[list[Any]]:
    """Rows of the case, at half of its batch as often as memory asks for it; none where it fails in another way."""
    while case.batch >= 2:
        try:
            return list(measured(case, device, peak, seconds))
        except torch.cuda.OutOfMemoryError:
            case = Case(case.model, case.peer, case.batch // 2, case.tokens, case.compiled)
            print(f"{case.model}: out of memory, once more with {case.batch}", file=sys.stderr)
        except Exception as error:
            print(f"{case}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
            return []
        finally:
            clean(device)
    return []


def clean(device: torch.device) -> None:
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def write(rows: list[list[Any]], device: torch.device, out: Path) -> None:
    """In the form that table.py reads, whole after every case."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    for package in ("open_clip", "deepspeed"):
        if package in sys.modules:
            versions[package] = str(getattr(sys.modules[package], "__version__", "?"))
    result = {
        "name": "gpu",
        "command": "python infra/benchmarks/gpu.py",
        "data": f"{name}: training steps in bfloat16 on random pictures and texts that lie on the card",
        "machine": {
            "cpu": name,
            "cores": os.cpu_count(),
            "system": platform.system(),
            "arch": platform.machine(),
        },
        "versions": versions,
        "headings": HEADINGS,
        "rows": rows,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny models, on a CPU too; nothing is written")
    parser.add_argument("--minutes", type=float, default=9.0, help="begin no case after so many (9)")
    parser.add_argument("--only", default="", help="cases whose model has this in its name")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.json")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        sys.exit("torch sees no GPU here; --tiny shows on a CPU that this runs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    card = card_called(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    peak = card.peak_flops("bfloat16") if card else 0.0
    deadline, rows = time.monotonic() + 60 * options.minutes, []
    for case in TINY if options.tiny else CASES:
        if options.only not in case.model or case.model not in REGISTRY:
            continue
        if time.monotonic() > deadline:
            print(f"{case}: no time left", file=sys.stderr)
            continue
        for row in fitting(case, device, peak, seconds=0.1 if options.tiny else 5.0):
            print("  ".join(map(str, row)), flush=True)
            rows.append(row)
        if not options.tiny:
            write(rows, device, options.out)
    if rows and not options.tiny:
        subprocess.run([sys.executable, HERE / "table.py"], check=True)


if __name__ == "__main__":
    main()
