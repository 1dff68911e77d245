"""Training steps for gpu.py: ours in a plain loop, ours through the engine, open_clip's; same batch, loss and AdamW."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.engine.recompute import compile_blocks
from training.models.draws import row_draws
from training.spec import REGISTRY, build

TINY_PEER: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 128, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}


@dataclass(frozen=True)
class Case:
    """`peer` is open_clip's name of the model; `tokens` 0 where the family reads no text."""

    model: str
    peer: str | None
    batch: int
    tokens: int
    compiled: bool


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
