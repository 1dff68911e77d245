"""Training steps on one GPU: images/s and MFU of CLIP ViT-B/32 and L/14 beside open_clip, of ViT-B/16 and iGPT-S alone.

    python infra/benchmarks/gpu.py                # 10 minutes at most; results/gpu.json
    python infra/benchmarks/gpu.py --tiny         # the same on a CPU in a minute, to see that it runs; writes nothing

Needs torch and this repository; neither Ray nor MLflow. Where open_clip is missing its columns stay empty, and where DeepSpeed is,
the rows of the engine. Each case runs ours and open_clip in turns (ours, peer, ours, peer, ...), same batch on the GPU already,
same loss, same fused AdamW, bfloat16 autocast, so it is the model's step alone: no loader. Each figure is written as soon as it is
there; a case that does not fit in memory is tried again with half of the batch, and one for which no time is left is left out.
"""

import argparse
import gc
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from training.engine.recompute import compile_blocks  # noqa: E402
from training.models.draws import row_draws  # noqa: E402
from training.spec import REGISTRY, build  # noqa: E402
from training.watching.cards import card_called  # noqa: E402

HEADINGS = [
    "model", "batch", "text tokens", "compiled", "by", "images/s", "MFU", "peak GiB", "beside open_clip",
]  # fmt: skip
NATURAL_TOKENS = 24
"""Of an alt text with start and end, rounded up to 8 (facts of CLIP's own data are not published; LAION's median is about 16)."""


@dataclass(frozen=True)
class Case:
    """`peer` is open_clip's name of the model; `tokens` 0 where the family reads no text."""

    model: str
    peer: str | None
    batch: int
    tokens: int
    compiled: bool


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
TINY_PEER: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 128, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}


class Step:
    """One training step of a model on a batch that lies on the device; `flops` are those of the forward pass per image."""

    def __init__(self, loss: Callable[[], Tensor], parameters: list[nn.Parameter], flops: float, rows: int) -> None:
        self.loss, self.flops, self.rows = loss, flops, rows
        self._optimizer = torch.optim.AdamW(parameters, lr=1e-6, betas=(0.9, 0.98), eps=1e-6, fused=True)

    def __call__(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self.loss().backward()
        self._optimizer.step()


def pair_loss(image_BD: Tensor, text_BD: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy both ways in float32, for both models."""
    logits_BB = scale.float() * image_BD.float() @ text_BD.float().T
    target_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (functional.cross_entropy(logits_BB, target_B) + functional.cross_entropy(logits_BB.T, target_B)) / 2


def random_batch(case: Case, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 pixels and token ids; the end token, the highest id, is the last of `case.tokens`."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (case.batch, 3, size, size), generator=generator, dtype=torch.uint8)
    tokens = torch.zeros(case.batch, 77, dtype=torch.long)
    if case.tokens:
        tokens[:, : case.tokens] = torch.randint(1, 49_000, (case.batch, case.tokens), generator=generator)
        tokens[:, 0], tokens[:, case.tokens - 1] = 49_406, 49_407
    return pixels.to(device), tokens.to(device)


def ours(case: Case, device: torch.device) -> Step:
    """openwit's model in a plain loop."""
    torch.manual_seed(0)
    spec = REGISTRY[case.model]
    model: Any = build(spec).to(device).train()
    if case.compiled:
        compile_blocks(model)
    pixels, tokens = random_batch(case, spec.image_size, device)
    labels_B = torch.arange(case.batch, device=device)
    keys_B = torch.arange(case.batch)

    def loss() -> Tensor:
        with row_draws(keys_B), torch.autocast(device.type, dtype=torch.bfloat16):
            out = model(pixels, tokens) if case.tokens else model(pixels)
        if case.tokens:
            return pair_loss(*out[:3])
        if isinstance(out, tuple):  # iGPT: logits of each place's colour, the colours
            return functional.cross_entropy(out[0].float().flatten(0, 1), out[1].flatten())
        return functional.cross_entropy(out.float(), labels_B % out.shape[1])

    flops = spec.sample_flops(case.tokens) if case.tokens else spec.sample_flops()
    return Step(loss, list(model.parameters()), flops, case.batch)


def theirs(case: Case, device: torch.device) -> Step | None:
    """open_clip's model, with its own loss where ours is the same sum; None where it cannot be had."""
    if case.peer is None or (open_clip := imported("open_clip")) is None:
        return None
    torch.manual_seed(0)
    if case.peer == "tiny":
        model = importlib.import_module("open_clip.model").CLIP(**TINY_PEER)
    else:
        model = open_clip.create_model(case.peer, pretrained=None)
    model = model.to(device).train()
    size = REGISTRY[case.model].image_size
    pixels, tokens = random_batch(case, size, device)
    images = (pixels.float() / 255 - 0.45) / 0.27  # its loader's work, so it is not timed
    call: Any = torch.compile(model) if case.compiled else model

    def loss() -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            out = call(images, tokens)
        if isinstance(out, dict):
            return pair_loss(out["image_features"], out["text_features"], out["logit_scale"])
        return pair_loss(*out[:3])

    return Step(loss, list(model.parameters()), REGISTRY[case.model].sample_flops(77), case.batch)


def by_engine(case: Case, device: torch.device) -> Step | None:
    """The same step through training/engine/engine.py (DeepSpeed, ZeRO 1): what the frame around the model costs."""
    if device.type != "cuda" or case.compiled or not case.tokens or imported("deepspeed") is None:
        return None
    from training.config import TrainConfig
    from training.engine.engine import Engine
    from training.engine.ranks import join

    spec = REGISTRY[case.model]
    config = TrainConfig.model_validate(
        {"model": case.model, "global_batch_size": case.batch, "precision": "bfloat16", "zero_stage": 1}
    )
    torch.manual_seed(0)
    engine = Engine(build(spec), config, join())
    pixels, tokens = random_batch(case, spec.image_size, device)

    class EngineStep(Step):
        def __init__(self) -> None:
            self.flops, self.rows = spec.sample_flops(case.tokens), case.batch

        def __call__(self) -> None:
            engine.backward(pair_loss(*engine.forward(pixels, tokens)[:3]))
            engine.update(1e-6)

    return EngineStep()


def imported(name: str) -> Any:
    """The module, or None; torchvision's operators are declared where its wheel does not fit torch (CPU builds)."""
    try:
        if name == "open_clip" and not torch.cuda.is_available():
            from torch_peers import PREPARE

            exec(PREPARE, globals())
        return importlib.import_module(name)
    except Exception as error:
        print(f"{name} is not here ({type(error).__name__}: {str(error)[:100]})", file=sys.stderr)
        return None


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


if __name__ == "__main__":
    main()
