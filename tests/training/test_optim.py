"""Optimizers beside slow twins, parameter groups, schedules, LoRA, frozen parts."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.optim.adafactor import Adafactor, factored_sides
from training.optim.config import LoraConfig
from training.optim.freeze import freeze
from training.optim.groups import depth_shares, parameter_groups
from training.optim.lamb import Lamb
from training.optim.lora import add_factors, merged
from training.optim.make import make_optimizer
from training.optim.schedule import learning_rate
from training.spec import REGISTRY, build


def config(**values: Any) -> TrainConfig:
    return TrainConfig.model_validate({"model": "clip-tiny", "global_batch_size": 8, "zero_stage": 0, **values})


def tiny(name: str = "clip-tiny") -> nn.Module:
    torch.manual_seed(0)
    return build(REGISTRY[name].with_text(vocabulary=300, context=12))


def of(groups: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(group for group in groups if name in group["names"])


def test_gains_biases_and_the_scale_are_spared_decay() -> None:
    groups = parameter_groups(tiny(), config())
    assert of(groups, "text.transformer.blocks.0.c_fc.weight")["weight_decay"] == 0.2
    for name in (
        "logit_scale",
        "visual.ln_post.weight",
        "text.transformer.blocks.1.c_fc.bias",
        "visual.class_embedding",
    ):
        assert of(groups, name)["weight_decay"] == 0.0
    assert sum(len(group["params"]) for group in groups) == len(list(tiny().parameters()))


def test_towers_and_heads_have_rates_and_decays_of_their_own() -> None:
    groups = parameter_groups(tiny(), config(optimizer={"image_rate": 0.1, "text_rate": 2.0}))
    assert of(groups, "visual.conv1.0.weight")["rate"] == of(groups, "image_projection.weight")["rate"] == 0.1
    assert of(groups, "text.token_embedding.weight")["rate"] == 2.0
    assert of(groups, "logit_scale")["rate"] == 1.0
    model = tiny("vit-tiny-8")
    groups = parameter_groups(
        model, config(model="vit-tiny-8", weight_decay=0.03, optimizer={"head_weight_decay": 3.0, "head_rate": 10.0})
    )
    assert of(groups, "head.weight")["weight_decay"] == 3.0
    spared = parameter_groups(model, config(model="vit-tiny-8", optimizer={"head_weight_decay": 0.0}))
    assert of(spared, "head.weight")["weight_decay"] == 0.0
    assert of(spared, "visual.transformer.blocks.0.c_fc.weight")["weight_decay"] == 0.2
    assert of(groups, "head.bias")["weight_decay"] == 0.0
    assert of(groups, "head.bias")["rate"] == 10.0
    assert of(groups, "visual.transformer.blocks.0.c_fc.weight")["weight_decay"] == 0.03


def test_rates_fall_with_the_distance_from_the_output() -> None:
    shares = depth_shares([name for name, _ in tiny().named_parameters()], 0.5)
    assert shares["visual.ln_post.weight"] == shares["image_projection.weight"] == shares["logit_scale"] == 1
    assert shares["visual.transformer.blocks.2.c_fc.weight"] == 0.5
    assert shares["visual.transformer.blocks.0.ln_1.bias"] == 0.125
    assert shares["visual.class_embedding"] == shares["visual.conv1.0.weight"] == 0.0625
    assert shares["text.transformer.blocks.1.ln_2.weight"] == 0.5
    assert shares["text.token_embedding.weight"] == 0.125
    igpt = depth_shares([name for name, _ in tiny("igpt-tiny").named_parameters()], 0.5)
    assert igpt["token_embedding.weight"] == 0.5**7
    assert igpt["blocks.5.c_fc.weight"] == 0.5
    assert igpt["head.weight"] == 1


def twin_adafactor(weight: Tensor, gradients: list[Tensor], lr: float, decay: float) -> Tensor:
    """Number by number, in float64, as the docstring's equations say; matrices of 32 x 32 or more only."""
    w, rows, columns = weight.double().clone(), 0.0, 0.0
    momentum = torch.zeros_like(w)
    for t, gradient in enumerate(gradients, start=1):
        g, beta2 = gradient.double(), min(0.999, 1 - t**-0.8)
        rows = beta2 * rows + (1 - beta2) * (g * g).mean(dim=1)
        columns = beta2 * columns + (1 - beta2) * (g * g).mean(dim=0)
        second = rows[:, None] * columns[None, :] / rows.mean()
        momentum = (0.9 * momentum + 0.1 * g / second.sqrt()).bfloat16().double()
        w = w - lr * decay * w - lr * momentum
    return w


def test_adafactor_is_the_variant_of_scaling_vit() -> None:
    torch.manual_seed(0)
    weight, gradients = torch.randn(40, 33), [torch.randn(40, 33) for _ in range(5)]
    parameter = nn.Parameter(weight.clone())
    optimizer = Adafactor([{"params": [parameter], "weight_decay": 0.1}], lr=0.01)
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    torch.testing.assert_close(
        parameter.detach().double(), twin_adafactor(weight, gradients, 0.01, 0.1), rtol=0, atol=2e-4
    )
    state = optimizer.state[parameter]
    assert sum(value.numel() * value.element_size() for value in state.values()) < 8 * weight.numel() * 0.3
    assert factored_sides((40, 33)) == (1, 0)
    assert factored_sides((768, 3, 32, 32)) == (3, 0)
    assert factored_sides((768,)) is factored_sides((31, 768)) is None


def test_adafactor_of_a_vector_or_a_kernel_keeps_every_second_moment_it_must() -> None:
    torch.manual_seed(0)
    for shape in ((10,), (4, 3, 2, 2), (64, 3, 32, 32)):
        parameter = nn.Parameter(torch.randn(shape))
        optimizer = Adafactor([{"params": [parameter], "weight_decay": 0.0}], lr=0.01, momentum=0.0)
        before, parameter.grad = parameter.detach().clone(), torch.randn(shape).sign()
        optimizer.step()
        # beta2 of the first step is 0 and all squares are 1: the update is the sign.
        torch.testing.assert_close(before - parameter.detach(), 0.01 * parameter.grad, rtol=0, atol=1e-4)


def test_sgd_decays_beside_the_momentum_and_not_through_it() -> None:
    torch.manual_seed(0)
    settings = config(optimizer={"kind": "sgd", "beta1": 0.9}, learning_rate=0.03)
    start, spared = torch.randn(5, 4), torch.randn(4)
    weights = [nn.Parameter(start.clone()), nn.Parameter(spared.clone())]
    groups = [
        {"params": weights[:1], "weight_decay": 0.2, "lr": 0.03},
        {"params": weights[1:], "weight_decay": 0.0, "lr": 0.06},
    ]
    optimizer = make_optimizer(groups, settings)
    slow, momenta = [start, spared], [torch.zeros(5, 4), torch.zeros(4)]
    for _ in range(10):
        gradients = [torch.randn(5, 4), torch.randn(4)]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
        momenta = [0.9 * m + g for m, g in zip(momenta, gradients, strict=True)]
        slow = [slow[0] * (1 - 0.03 * 0.2) - 0.03 * momenta[0], slow[1] - 0.06 * momenta[1]]
    for weight, expected in zip(weights, slow, strict=True):
        torch.testing.assert_close(weight.detach(), expected)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0]


def test_lamb_moves_a_weight_by_its_own_length() -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(6, 5), torch.randn(6, 5)
    parameter = nn.Parameter(weight.clone())
    parameter.grad = gradient
    Lamb([{"params": [parameter], "weight_decay": 0.1}], lr=0.01, betas=(0.9, 0.99), eps=1e-6).step()
    update = gradient / (gradient.abs() + 1e-6) + 0.1 * weight  # the first step's moments, without their bias
    wanted = weight - 0.01 * weight.norm() / update.norm() * update
    torch.testing.assert_close(parameter.detach(), wanted)


@pytest.mark.parametrize(("schedule", "cooldown"), [("constant", 0), ("constant", 20), ("rsqrt", 20), ("cosine", 0)])
def test_schedules(schedule: str, cooldown: int) -> None:
    settings = config(
        steps=100,
        warmup_steps=10,
        learning_rate=1.0,
        schedule=schedule,
        cooldown_steps=cooldown,
        **({"rsqrt_timescale_steps": 30} if schedule == "rsqrt" else {}),
    )
    rates = [learning_rate(settings, step, 100) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[9:]))
    if schedule == "constant":
        assert rates[70] == 1
    if schedule == "rsqrt":
        assert rates[39] == pytest.approx((30 / 60) ** 0.5)
    assert (rates[-1] < 0.06) == (schedule != "constant" or cooldown > 0)


def test_lora_begins_as_the_model_was_and_merges_into_it() -> None:
    settings, model = LoraConfig(rank=3, alpha=6.0), tiny()
    rows = (torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), torch.tensor([[1, 5, 299, 0], [1, 7, 8, 299]]))
    before, names = model(*rows)[0], list(model.state_dict())
    add_factors(model, settings)
    torch.testing.assert_close(model(*rows)[0], before)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.endswith(("lora_down", "lora_up")) for name in learning)
    for name, parameter in model.named_parameters():
        if name.endswith("lora_up"):
            nn.init.normal_(parameter, std=0.02)
    changed = model(*rows)[0]
    assert not torch.allclose(changed, before, atol=1e-3)
    plain = tiny()
    plain.load_state_dict(merged(model.state_dict(), settings))
    assert list(merged(model.state_dict(), settings)) == names
    torch.testing.assert_close(plain(*rows)[0], changed, rtol=0, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"lora.rank is 3 and start_from names no trained model.*; name one in start_from"
    ):
        config(optimizer={"lora": {"rank": 3}})
    with pytest.raises(ConfigError, match=r"no linear layer called query; there are .*c_fc"):
        add_factors(tiny(), LoraConfig(rank=2, layers=("query",)))


@pytest.mark.parametrize(("name", "head"), [("vit-tiny-8-map", "head"), ("igpt-tiny", "class_head")])
def test_a_head_of_classes_and_what_begins_anew_learn_in_full_beside_the_factors(name: str, head: str) -> None:
    def model() -> nn.Module:
        return build(REGISTRY[name].with_classes(5))

    def learning(layers: tuple[str, ...], anew: set[str]) -> set[str]:
        made = model()
        add_factors(made, LoraConfig(rank=2, layers=layers), anew)
        return {each for each, parameter in made.named_parameters() if parameter.requires_grad}

    heads = {each for each, _ in model().named_parameters() if each.startswith(f"{head}.")}
    assert {each for each in learning(("c_fc",), set()) if not each.endswith(("lora_down", "lora_up"))} == heads
    assert learning((head,), set()) == {f"{head}.lora_down", f"{head}.lora_up"}  # adapted, as its owner asked for
    # A part that no trained model brought has no factors of low rank: it is learned whole.
    part = "map_head." if name.startswith("vit") else "blocks.3."
    fresh = {each for each, _ in model().named_parameters() if each.startswith(part)}
    found = learning(("c_fc",), fresh)
    assert fresh | heads <= found
    assert not any(each.startswith(part) and each.endswith("lora_down") for each in found)
    with pytest.raises(ConfigError, match="brings no weight of head, so there is nothing to adapt"):
        add_factors(build(REGISTRY["vit-tiny-8"]), LoraConfig(rank=2, layers=("head",)), {"head.weight", "head.bias"})


def test_a_frozen_tower_computes_as_in_evaluation() -> None:
    model = tiny("clip-tiny-rn")
    freeze(model, ["image"])
    model.train()
    assert not any(parameter.requires_grad for parameter in model.visual.parameters())
    assert not model.visual.bn1.training
    assert model.text.training
    statistics = model.visual.bn1.running_mean.clone()
    model.visual(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    assert torch.equal(statistics, model.visual.bn1.running_mean)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["imagge"], "no parameter is in 'imagge'; there are image, text"),
        (["image", "text", "image_projection", "text_projection", "logit_scale"], "all of the model"),
    ],
)
def test_what_cannot_be_frozen_is_named(parts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        freeze(tiny(), parts)
