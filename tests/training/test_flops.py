"""The arithmetic that MFU and plans count, against torch's own count of the products that a real step does."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from training.config import TrainConfig
from training.models import linear
from training.objectives.config import KINDS, PAIRS
from training.objectives.objective import make_objective
from training.optim.freeze import freeze
from training.optim.lora import add_factors
from training.spec import build, get_spec
from training.watching.flops import PASSES, model_flops, repeated_flops

LORA = {"start_from": "elsewhere", "optimizer": {"lora": {"rank": 1}}}
TOKENS = 77


def config(model: str, **changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {"model": model, "global_batch_size": 8, "steps": 9, "warmup_steps": 1, "context_length": TOKENS} | changes
    )


def counted(made: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> float:
    """FLOPs per sample of a forward and a backward pass, as torch counts them."""
    monkeypatch.setattr(linear, "_product", None)  # oneDNN's products are none that torch's counter knows
    torch.manual_seed(0)
    spec, rows = get_spec(made.model), 2
    model = build(spec)
    if made.optimizer.lora.rank:
        add_factors(model, made.optimizer.lora)
    freeze(model, made.freeze)
    model.patch_dropout = made.patch_dropout
    inputs = [torch.randint(0, 255, (rows, 3, spec.image_size, spec.image_size), dtype=torch.uint8)]
    if spec.family == "clip":
        texts = torch.randint(1, 400, (rows, TOKENS))
        texts[:, -1] = 49_407
        inputs.append(texts)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        outputs = model(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        torch.stack([each.float().sum() for each in outputs if each.requires_grad]).sum().backward()
    return counter.get_total_flops() / rows


@pytest.mark.parametrize(
    ("model", "changes", "off"),
    [
        ("clip-tiny", {}, 0.01),
        ("clip-tiny", {"patch_dropout": 0.5}, 0.01),
        ("vit-tiny-8-map", {"patch_dropout": 0.75}, 0.02),
        ("words-tiny", {"patch_dropout": 0.5}, 0.01),
        ("clip-tiny", {"patch_dropout": 0.5} | LORA, 0.05),
        ("clip-tiny", {"freeze": ["image"]}, 0.01),
        ("clip-tiny", {"freeze": ["image", "text"]}, 0.01),
        ("clip-tiny-rn", {"freeze": ["image"]}, 0.01),
        ("vit-tiny-8", {"freeze": ["image"]}, 0.01),
        ("clip-tiny", LORA, 0.05),
        ("clip-tiny", LORA | {"freeze": ["image"]}, 0.05),
        ("vit-tiny-8", LORA, 0.05),
        ("igpt-tiny", LORA, 0.05),
    ],
)
def test_what_is_counted_is_what_a_step_multiplies(
    model: str, changes: dict[str, Any], off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(model, **changes)
    assert model_flops(get_spec(model), made, TOKENS) == pytest.approx(counted(made, monkeypatch), rel=off)


def test_a_locked_tower_leaves_no_patch_out() -> None:
    spec = get_spec("clip-vit-b-16")
    locked, half = {"freeze": ["image"]}, {"patch_dropout": 0.5}
    assert model_flops(spec, config(spec.name, **locked, **half)) == model_flops(spec, config(spec.name, **locked))
    assert (
        model_flops(spec, config(spec.name, **half)) < 0.55 * PASSES * spec.image_flops() + PASSES * spec.text_flops()
    )


@pytest.mark.parametrize("model", ["clip-tiny", "vit-tiny-8", "igpt-tiny", "captioner-tiny", "words-tiny"])
def test_the_losses_over_pairs_are_those_of_the_gradient_cache(model: str) -> None:
    for kind in KINDS[get_spec(model).family]:
        spec = get_spec(model).with_classes(3)
        assert make_objective(config(model, objective={"kind": kind}), spec).pairs == (kind in PAIRS)


def test_what_memory_settings_compute_again_is_counted_apart() -> None:
    """A gradient cache is for losses over pairs alone; of a locked tower nothing is computed for a gradient."""
    clip, vit = get_spec("clip-vit-b-16"), get_spec("vit-b-16")
    chunks, blocks = {"memory": {"chunks": 4}}, {"memory": {"activation_checkpointing": True}}
    assert repeated_flops(clip, config(clip.name)) == 0
    assert repeated_flops(clip, config(clip.name, **chunks)) == clip.sample_flops()
    assert repeated_flops(vit, config(vit.name, **chunks)) == 0
    assert repeated_flops(clip, config(clip.name, **blocks)) == clip.sample_flops()
    locked = repeated_flops(clip, config(clip.name, freeze=["image"], **blocks))
    assert locked == clip.sample_flops() - clip.image.flops()
    both = {"memory": {"chunks": 4, "activation_checkpointing": True}}
    assert repeated_flops(clip, config(clip.name, **both)) == 2 * clip.sample_flops()
