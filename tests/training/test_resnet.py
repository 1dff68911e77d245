"""CLIP's residual network against a plain re-derivation, step by step, from the words of the paper."""

import math
import os
import socket
from pathlib import Path

import pytest
import torch
from ranks import on_ranks
from torch import Tensor

from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.engine.engine import Engine
from training.engine.ranks import join
from training.models.resnet import BatchNorm, ResNet
from training.objectives.contrastive import contrastive_loss
from training.saving.checkpoint import Checkpoint, checksums, write_model
from training.saving.meanings import Meanings
from training.spec import REGISTRY, build
from training.specs.clip import ClipSpec
from training.specs.towers import PIXEL_MEAN, PIXEL_STD, ResNetTower
from training.tokens.tokenizer import Tokenizer

TOWER = ResNetTower(size=32, blocks=(2, 1, 1), width=16)
TINY = REGISTRY["clip-tiny-rn"].with_text(300, 16)


def randomised(model: ResNet) -> ResNet:
    torch.manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.ndim == 1:
            tensor.add_(torch.randn_like(tensor), alpha=0.3)
    return model.eval()


def convolved(x_BCSS: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Every output as a sum of products over a window, zeros outside."""
    B, _, S, _ = x_BCSS.shape
    out, _, k, _ = weight.shape
    padded = torch.nn.functional.pad(x_BCSS, (k // 2,) * 4)
    side = S // stride
    made = torch.zeros(B, out, side, side)
    for row in range(side):
        for column in range(side):
            window = padded[:, None, :, row * stride : row * stride + k, column * stride : column * stride + k]
            made[:, :, row, column] = (window * weight).sum(dim=(2, 3, 4))
    return made


def normed(x_BCSS: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    per_channel = [w[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")]
    mean, variance, gain, bias = per_channel
    return (x_BCSS - mean) / (variance + 1e-5).sqrt() * gain + bias


def averaged(x_BCSS: Tensor) -> Tensor:
    """The mean of each 2 x 2 square."""
    return (x_BCSS[..., ::2, ::2] + x_BCSS[..., 1::2, ::2] + x_BCSS[..., ::2, 1::2] + x_BCSS[..., 1::2, 1::2]) / 4


def bottleneck(x: Tensor, w: dict[str, Tensor], name: str, strided: bool) -> Tensor:
    out = normed(convolved(x, w[f"{name}.conv1.weight"]), w, f"{name}.bn1").clamp(min=0)
    out = normed(convolved(out, w[f"{name}.conv2.weight"]), w, f"{name}.bn2").clamp(min=0)
    out = averaged(out) if strided else out
    out = normed(convolved(out, w[f"{name}.conv3.weight"]), w, f"{name}.bn3")
    if f"{name}.shortcut.1.weight" in w:
        x = averaged(x) if strided else x
        x = normed(convolved(x, w[f"{name}.shortcut.1.weight"]), w, f"{name}.shortcut.2")
    return (out + x).clamp(min=0)


def pooled(x_BCSS: Tensor, w: dict[str, Tensor], heads: int) -> Tensor:
    """Attention of the places' mean over the mean and all places."""
    rows = []
    for places_CSS in x_BCSS:
        places_PC = places_CSS.flatten(1).T
        tokens = torch.cat([places_PC.mean(dim=0, keepdim=True), places_PC]) + w["attnpool.positional_embedding"]
        q, k, v = (tokens @ w[f"attnpool.{n}_proj.weight"].T + w[f"attnpool.{n}_proj.bias"] for n in "qkv")
        parts = []
        for head in range(heads):
            part = slice(head * 64, head * 64 + 64)
            scores = (k[:, part] @ q[0, part]) / math.sqrt(64)
            parts.append(scores.softmax(dim=0) @ v[:, part])
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def test_the_tower_equals_its_plain_re_derivation() -> None:
    tower = randomised(ResNet(TOWER))
    w = tower.state_dict()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    x = (pixels / 255 - torch.tensor(PIXEL_MEAN).view(3, 1, 1)) / torch.tensor(PIXEL_STD).view(3, 1, 1)
    for number in "123":
        x = normed(convolved(x, w[f"conv{number}.weight"], 2 if number == "1" else 1), w, f"bn{number}").clamp(min=0)
    x = averaged(x)
    for stage, blocks in enumerate(TOWER.blocks):
        for block in range(blocks):
            x = bottleneck(x, w, f"stages.{stage}.{block}", strided=stage > 0 and block == 0)
    assert x.shape == (2, TOWER.features, 2, 2)
    places = tower.places(pixels)
    torch.testing.assert_close(places.transpose(1, 2).unflatten(2, (2, 2)), x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(tower(pixels), pooled(x, w, TOWER.heads), rtol=1e-4, atol=1e-4)


def test_fresh_blocks_are_the_identity_and_the_pool_has_the_release_s_deviation() -> None:
    torch.manual_seed(0)
    tower = ResNet(TOWER)
    gains = {name: each for name, each in tower.state_dict().items() if name.endswith("bn3.weight")}
    assert len(gains) == 5
    assert all(bool(each.any()) == (name == "bn3.weight") for name, each in gains.items())
    for layer in (tower.attnpool.q_proj, tower.attnpool.k_proj, tower.attnpool.v_proj):
        assert layer.weight.std().item() == pytest.approx(TOWER.features**-0.5, rel=0.05)


def test_running_means_are_in_a_checkpoint_and_come_back(tmp_path: object) -> None:
    torch.manual_seed(0)
    model = build(TINY)
    assert isinstance(TINY, ClipSpec)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    model.train()(pixels, torch.tensor([[298, 5, 299]] * 4))
    folder = str(tmp_path)
    write_model(folder, model.state_dict(), Meanings(Tokenizer.train(["a b"] * 3, 270, 16)))
    made = Checkpoint(folder, TINY, 1, 4, "none", {}, 1, checksums(folder)).model()
    norms = [module for module in made.modules() if isinstance(module, BatchNorm)]
    assert norms
    assert all(bool(norm.running_mean.any()) for norm in norms if norm.running_mean is not None)
    torch.testing.assert_close(made.image_features(pixels), model.eval().image_features(pixels))


def test_a_size_that_the_stages_do_not_halve_and_patch_dropout_are_refused_in_a_line() -> None:
    with pytest.raises(ConfigError, match="1/32: 230 pixels; use 224 or 256"):
        REGISTRY["clip-rn50"].with_image_size(230)
    model = build(TINY)
    model.patch_dropout = 0.0
    with pytest.raises(ConfigError, match=r"patch_dropout is 0.5, and clip-tiny-rn has no patches"):
        model.patch_dropout = 0.5


def still_statistics(rank: int, folder: str) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "3",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": Path(folder, "port").read_text(),
    }
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build(REGISTRY["clip-tiny-rn"].with_text(vocabulary=300, context=12))
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.uniform_(0.1, 2.0)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    settings = {"model": "clip-tiny-rn", "global_batch_size": 6, "workers": 3, "steps": 9, "warmup_steps": 0}
    config = TrainConfig.model_validate(settings | {"freeze": ["image"], "zero_stage": 0})
    ranks = join()
    engine = Engine(model, config, ranks)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tokens = torch.tensor([[298, 5, 299], [298, 7, 299]])
    for _ in range(3):
        engine.backward(contrastive_loss(*engine.forward(pixels, tokens))[0])
        engine.update(1e-3)
    Path(folder, f"moved-{rank}").write_text(
        " ".join(n for n, b in model.named_buffers() if not torch.equal(b, before[n]))
    )
    ranks.leave()


def test_statistics_of_a_locked_tower_stand_still_on_three_ranks(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(probe.getsockname()[1]))
    on_ranks(3, still_statistics, str(tmp_path))
    assert [(tmp_path / f"moved-{rank}").read_text() for rank in range(3)] == ["", "", ""]


def test_statistics_stand_still_under_factors_too() -> None:
    """LoRA's factors are the text tower's here; the picture's goes on computing what it did."""
    settings = {"model": "clip-tiny-rn", "global_batch_size": 2, "steps": 9, "warmup_steps": 0, "zero_stage": 0}
    config = TrainConfig.model_validate(settings | {"start_from": "given", "optimizer": {"lora": {"rank": 2}}})
    spec = REGISTRY["clip-tiny-rn"].with_text(vocabulary=300, context=12)
    pixels, tokens = (
        torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8),
        torch.tensor([[298, 5, 299], [298, 7, 299]]),
    )
    model = build(spec)
    with torch.no_grad():
        before = model.eval().image_features(pixels)
    engine = Engine(model.train(), config, join())
    engine.backward(contrastive_loss(*engine.forward(pixels, tokens))[0])
    engine.update(1e-3)
    with torch.no_grad():
        assert torch.equal(model.eval().image_features(pixels), before)
    engine.close()
