"""ViT against slow, obvious definitions: the whole forward pass, the attention pool, other sizes and other classes."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigError
from training.models.adapt import adapted
from training.models.classifier import Classifier
from training.spec import REGISTRY, build
from training.specs.vit import VitSpec, tower

TOKEN = VitSpec("small", tower(12, 4, 16, 2, 2), classes=7)
MEAN = replace(TOKEN, image=replace(TOKEN.image, class_token=False), pool="mean")
ATTENTION = replace(MEAN, pool="attention")


def model(spec: VitSpec) -> Classifier:
    torch.manual_seed(0)
    made = build(spec)
    assert isinstance(made, Classifier)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def pixels(count: int, size: int = 12) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """(n, W) from queries (n, W), keys and values (m, W)."""
    parts = []
    for cut in torch.arange(q.shape[1]).chunk(heads):
        parts.append((q[:, cut] @ k[:, cut].T / math.sqrt(len(cut))).softmax(dim=1) @ v[:, cut])
    return torch.cat(parts, dim=1)


def slow(made: Classifier, picture: Tensor) -> Tensor:
    """Equations 1-4 of arXiv:2010.11929 for one picture (3, S, S), in float64; the pool as big_vision's MAPHead."""
    w = {name: value.double() for name, value in made.state_dict().items()}
    spec, image = made.spec, picture.double() / 127.5 - 1
    width, patch = spec.image.width, spec.image.patch

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (width,), w[name + ".weight"], w[name + ".bias"], eps=1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    rows = []
    for y in range(0, spec.image.size, patch):
        for x in range(0, spec.image.size, patch):
            square = image[:, y : y + patch, x : x + patch].flatten()
            rows.append(w["visual.conv1.weight"].flatten(1) @ square + w["visual.conv1.bias"])
    z = torch.stack(rows)
    if spec.pool == "token":
        z = torch.cat([w["visual.class_embedding"][None], z])
    z = z + w["visual.positional_embedding"]
    for layer in range(spec.image.layers):
        name = f"visual.transformer.blocks.{layer}"
        q, k, v = linear(norm(z, f"{name}.ln_1"), f"{name}.attn.in_proj").split(width, dim=1)
        z = z + linear(attend(q, k, v, spec.image.heads), f"{name}.attn.out_proj")
        z = z + linear(functional.gelu(linear(norm(z, f"{name}.ln_2"), f"{name}.c_fc")), f"{name}.c_proj")
    z = norm(z, "visual.ln_post")
    if spec.pool == "attention":
        k, v = linear(z, "map_head.kv_proj").split(width, dim=1)
        y = linear(attend(linear(w["map_head.probe"], "map_head.q_proj"), k, v, spec.image.heads), "map_head.out_proj")
        hidden = functional.gelu(linear(norm(y, "map_head.norm"), "map_head.c_fc"))
        features = (y + linear(hidden, "map_head.c_proj"))[0]
    else:
        features = z[0] if spec.pool == "token" else z.mean(dim=0)
    if spec.representation:
        features = torch.tanh(linear(features, "representation"))
    return linear(features, "head")


@pytest.mark.parametrize("spec", [TOKEN, MEAN, ATTENTION, replace(TOKEN, representation=9)])
def test_logits_are_the_slow_one_s(spec: VitSpec) -> None:
    made = model(spec)
    with torch.no_grad():
        found = made(pixels(3))
    assert found.shape == (3, 7)
    torch.testing.assert_close(
        found, torch.stack([slow(made, each) for each in pixels(3)]).float(), rtol=1e-4, atol=1e-5
    )


# Millions of parameters with 1,000 classes, as published (B, L, H: arXiv:2010.11929, table 1; timm for the rest).
@pytest.mark.parametrize(
    ("name", "millions"),
    [("ti-16", 5.72), ("s-16", 22.05), ("b-32", 88.22), ("b-16", 86.57), ("l-16", 304.33), ("h-14", 632.05)],
)
def test_sizes_are_the_published_ones(name: str, millions: float) -> None:
    assert round(REGISTRY[f"vit-{name}"].parameters() / 1e6, 2) == millions


def test_the_giants_have_the_published_sizes_with_a_class_token() -> None:
    for name, millions in (("giant", 1012.61), ("gigantic", 1844.44)):
        spec = REGISTRY[f"vit-{name}-14"]
        assert isinstance(spec, VitSpec)
        plain = replace(spec, pool="token", image=replace(spec.image, class_token=True))
        assert plain.parameters() / 1e6 == pytest.approx(millions, abs=0.01)
        assert spec.pool == "attention"


def test_initial_values_are_the_release_s() -> None:
    torch.manual_seed(0)
    made = build(replace(ATTENTION, image=replace(ATTENTION.image, width=64), representation=8))
    assert isinstance(made, Classifier)
    block = made.visual.transformer.blocks[0]
    for part in block.attn.in_proj.weight.chunk(3):  # type: ignore[union-attr, operator]
        assert part.abs().max().item() == pytest.approx(math.sqrt(6 / 128), rel=0.02)
    assert block.c_fc.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 320), rel=0.02)  # type: ignore[union-attr, operator]
    assert 0 < block.c_fc.bias.abs().max() < 1e-5  # type: ignore[union-attr, operator]
    for values_OI in (made.visual.conv1.weight.flatten(1), made.representation.weight):  # type: ignore[union-attr]
        deviation = values_OI.shape[1] ** -0.5
        assert values_OI.std().item() == pytest.approx(deviation, rel=0.1)
        assert 2 * deviation < values_OI.abs().max().item() < 2 / 0.8796 * deviation  # cut off, and wider for it
    assert made.visual.positional_embedding.std().item() == pytest.approx(1 / 8, rel=0.2)
    assert not made.head.weight.any()
    made.expect_one_class_in_many()
    torch.testing.assert_close(made.head.bias.detach(), torch.full((7,), -math.log(7)))
    plain = build(TOKEN)
    assert isinstance(plain, Classifier)
    assert plain.visual.class_embedding is not None
    assert not plain.visual.class_embedding.any()


def test_fine_tuning_takes_what_fits_new_classes_start_at_zero_and_positions_are_interpolated() -> None:
    trained = model(replace(TOKEN, representation=9))
    other = replace(TOKEN.with_image_size(20), classes=3)
    fresh = build(other)
    values = adapted(trained.state_dict(), fresh.state_dict(), "start")
    assert set(fresh.state_dict()) - set(values) == {"head.weight", "head.bias"}
    fresh.load_state_dict(values, strict=False)
    assert not fresh(pixels(2, size=20)).any()
    old, new = trained.visual.positional_embedding.data, values["visual.positional_embedding"]
    assert torch.equal(new[0], old[0])
    grid = old[1:].T.reshape(1, 16, 3, 3)
    wanted = functional.interpolate(grid, size=(5, 5), mode="bicubic", antialias=True).reshape(16, 25).T
    torch.testing.assert_close(new[1:], wanted)
    same = adapted(trained.state_dict(), trained.state_dict(), "start")
    assert all(torch.equal(same[name], value) for name, value in trained.state_dict().items())


def test_a_clip_tower_starts_a_classifier_but_one_with_another_shape_is_one_line_that_names_the_tensor() -> None:
    weights = model(TOKEN).state_dict()
    clip = {f"text.{name}": value for name, value in weights.items()}
    clip |= {name: value for name, value in weights.items() if name.startswith("visual.")}
    assert set(adapted(clip, build(TOKEN).state_dict(), "start")) == {name for name in weights if name[:4] != "head"}
    for spec, message in (
        (
            replace(TOKEN, image=replace(TOKEN.image, width=32)),
            "visual.class_embedding is 16 there and 32 in this model",
        ),
        (MEAN, "visual.positional_embedding is 10 x 16 there and 9 x 16"),
        (replace(TOKEN, image=replace(TOKEN.image, layers=3)), r"has no visual.transformer.blocks.2"),
        (
            replace(TOKEN, image=replace(TOKEN.image, layers=1)),
            r"has visual.transformer.blocks.1.*which this model has not",
        ),
    ):
        with pytest.raises(ConfigError, match=f"^start: .*{message}"):
            adapted(weights, build(spec).state_dict(), "start")
    with pytest.raises(ConfigError, match="no weight has a name that this model has"):
        adapted({"other.weight": torch.zeros(1)}, weights, "start")


def test_pools_and_sizes_that_contradict_each_other_are_one_line() -> None:
    with pytest.raises(ConfigError, match="contradict"):
        replace(TOKEN, pool="mean")
    with pytest.raises(ConfigError, match="patches of 4 pixels do not divide pictures of 13"):
        TOKEN.with_image_size(13)
