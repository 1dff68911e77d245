"""iGPT against a slow, obvious definition in float64, with heads whose width is no square number as in iGPT-M and L."""

import math

import pytest
import torch
from torch import Tensor

from training.models.igpt import IGPT
from training.models.igpt_block import _Normed
from training.models.igpt_masks import evaluation_masks, masked_class_probabilities
from training.models.igpt_sampling import Cache, chosen, complete, next_logits, place_draws, sample
from training.models.quantise import even_palette, nearest_colours
from training.spec import REGISTRY, build, get_spec
from training.specs.igpt import IgptSpec

SPEC = IgptSpec("small", size=4, width=24, layers=3, heads=3, colours=11, classes=5)


def model(spec: IgptSpec = SPEC) -> IGPT:
    """With weights that say something: zero heads would hide every mistake before them."""
    torch.manual_seed(0)
    made = build(spec)
    assert isinstance(made, IGPT)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def pixels(count: int, size: int = SPEC.size) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def slow(made: IGPT, colours: list[int], keep: list[bool] | None) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Place by place and head by head: (logits per place, each block's normed input averaged, class logits)."""
    w = {name: value.double() for name, value in made.state_dict().items()}
    spec = made.spec
    table, places = w["token_embedding.weight"], range(len(colours))

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return gain * x / math.sqrt(sum(float(each) ** 2 for each in x) / len(x) + 1e-5)

    if keep is None:
        before = [w["start"], *(table[each] for each in colours[:-1])]
        xs = [before[t] + w["positional_embedding"][t] for t in places]
    else:
        xs = [(table[colours[t]] if keep[t] else 0) + w["positional_embedding"][t] for t in places]
    features = []
    part = spec.width // spec.heads
    for layer in range(spec.layers):
        name = f"blocks.{layer}."
        normed = [norm(x, w[name + "ln_1.weight"]) for x in xs]
        features.append(torch.stack(normed).mean(dim=0))
        q, k, v = zip(*((w[name + "attn.in_proj.weight"] @ x).split(spec.width) for x in normed), strict=True)
        for t in places:
            seen = range(t + 1) if keep is None else places
            heads = []
            for head in range(spec.heads):
                cut = slice(head * part, (head + 1) * part)
                scores = torch.stack([q[t][cut] @ k[u][cut] / math.sqrt(part) for u in seen])
                heads.append(sum(s * v[u][cut] for s, u in zip(scores.softmax(dim=0), seen, strict=True)))
            xs[t] = xs[t] + w[name + "attn.out_proj.weight"] @ torch.cat(heads)  # type: ignore[arg-type]
        for t in places:
            hidden = w[name + "c_fc.weight"] @ norm(xs[t], w[name + "ln_2.weight"])
            xs[t] = xs[t] + w[name + "c_proj.weight"] @ (hidden / (1 + torch.exp(-1.702 * hidden)))
    last = [norm(x, w["ln_final.weight"]) for x in xs]
    features.append(torch.stack(last).mean(dim=0))
    return [w["head.weight"] @ x for x in last], features, w["class_head.weight"] @ features[-1]


@pytest.mark.parametrize("masked", [False, True])
def test_a_forward_pass_is_the_slow_one_s(masked: bool) -> None:
    made = model()
    keep = torch.rand(2, 16, generator=torch.Generator().manual_seed(2)) > 0.4 if masked else None
    with torch.no_grad():
        logits, colours, classes = made(pixels(2), keep)
    for row in range(2):
        kept = None if keep is None else keep[row].tolist()
        wanted, _, wanted_classes = slow(made, colours[row].tolist(), kept)
        torch.testing.assert_close(logits[row], torch.stack(wanted).float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(classes[row], wanted_classes.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_features_are_the_normed_inputs_of_the_blocks_averaged_over_places(masked: bool) -> None:
    made = model()
    made.learned_by({"kind": "masked_pixels"} if masked else {"kind": None, "generative": "masked_pixels"})
    with torch.no_grad():
        every = made.features_of_all_layers(pixels(2))
        assert every.shape == (SPEC.layers + 1, 2, SPEC.width)
        for layer in range(SPEC.layers + 1):
            torch.testing.assert_close(made.image_features(pixels(2), layer), every[layer])
        torch.testing.assert_close(made.image_features(pixels(2)), every[SPEC.layers // 2])
    _, wanted, _ = slow(made, made.colours(pixels(2))[1].tolist(), [True] * SPEC.tokens if masked else None)
    torch.testing.assert_close(every[:, 1], torch.stack(wanted).float(), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="layer 4: small has layers 0 to 3"):
        made.image_features(pixels(1), 4)


def test_the_norm_s_gradient_is_its_derivative() -> None:
    torch.manual_seed(0)
    x, gain = torch.randn(3, 2, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(_Normed.apply, (x.requires_grad_(), gain.requires_grad_()))


def test_a_pixel_is_told_from_those_before_it_and_a_masked_one_does_not_see_itself() -> None:
    made = model()
    first = pixels(1)
    other = first.clone()
    other[0, :, 2, 1] = 255 - other[0, :, 2, 1]  # place 9
    assert made.colours(first)[0, 9] != made.colours(other)[0, 9]
    with torch.no_grad():
        before, after = made(first)[0][0], made(other)[0][0]
        keep = torch.ones(1, 16, dtype=torch.bool)
        keep[0, 9] = False
        hidden, still_hidden, seen = made(first, keep)[0], made(other, keep)[0], made(other, keep | True)[0]
    changed = (before - after).abs().amax(dim=1) > 1e-6
    assert changed.tolist() == [False] * 10 + [True] * 6
    torch.testing.assert_close(hidden, still_hidden)
    assert not torch.allclose(hidden, seen)


def test_keys_and_values_kept_give_what_a_whole_pass_gives() -> None:
    made = model()
    colours = made.colours(pixels(3))
    with torch.no_grad():
        whole = made(pixels(3))[0]
    cache = Cache(made, 3)
    found = [next_logits(made, cache, colours[:, :0])]
    found.append(next_logits(made, cache, colours[:, :1]))
    found.append(next_logits(made, cache, colours[:, 1:5]))  # several at once
    found += [next_logits(made, cache, colours[:, t : t + 1]) for t in range(5, 15)]
    torch.testing.assert_close(torch.stack(found, dim=1), whole[:, [0, 1, *range(5, 16)]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.7, 3), (0.0, 0)])
def test_samples_are_those_of_the_slow_path_and_rows_do_not_meet(temperature: float, top_k: int) -> None:
    made = model()
    known = made.colours(pixels(3))[:, :6]
    fast = sample(made, known, temperature, top_k, seed=4)
    draws = place_draws(4, 3, 16)
    slow_colours = known
    while slow_colours.shape[1] < 16:
        place = slow_colours.shape[1]
        padded = torch.cat([slow_colours, torch.zeros(3, 16 - place, dtype=torch.long)], dim=1)
        x = made.embedded(padded)
        for block in made.blocks:
            x = block(x, causal=True)
        logits = made.heads(made.ln_final(x))[0][:, place]
        new = chosen(logits, temperature, top_k, draws[:, place])
        slow_colours = torch.cat([slow_colours, new[:, None]], dim=1)
    assert torch.equal(fast, slow_colours)
    assert torch.equal(sample(made, known[:2], temperature, top_k, seed=4), fast[:2])
    if temperature:
        assert not torch.equal(sample(made, known, temperature, top_k, seed=5), fast)


def test_choices_come_as_often_as_the_softmax_says() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0])
    draws = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    counts = torch.bincount(chosen(logits.expand(10_000, 4), 0.5, 0, draws), minlength=4)
    torch.testing.assert_close(counts / 10_000, (logits / 0.5).softmax(dim=0), atol=2e-4, rtol=0)
    two = torch.bincount(chosen(logits.expand(10_000, 4), 1.0, 2, draws), minlength=4)
    torch.testing.assert_close(two / 10_000, torch.tensor([0, math.e, 1, 0]) / (1 + math.e), atol=2e-4, rtol=0)


def test_a_completion_keeps_the_rows_that_were_given() -> None:
    made = model()
    given = pixels(2)
    done = complete(made, given, rows=2, seed=1)
    quantised = made.pictures(made.colours(given))
    assert torch.equal(done[:, :, :2], quantised[:, :, :2])
    assert not torch.equal(done[:, :, 2:], quantised[:, :, 2:])
    assert torch.equal(complete(made, given, rows=4), quantised)
    with pytest.raises(ValueError, match="5 rows of pictures that have 4"):
        complete(made, given, rows=5)


def test_classes_of_masked_pictures_are_the_mean_of_five_passes() -> None:
    made = model()
    keeps = evaluation_masks(16, 5, 0.15, seed=0)
    assert keeps.shape == (5, 16)
    assert 0.05 < (~evaluation_masks(1000, 5, 0.15, seed=0)).float().mean() < 0.25
    with torch.no_grad():
        each = torch.stack([made(pixels(4), keep.expand(4, -1))[2].softmax(dim=1) for keep in keeps])
    together = masked_class_probabilities(made, pixels(4))
    torch.testing.assert_close(together, each.mean(dim=0))
    torch.testing.assert_close(masked_class_probabilities(made, pixels(4)[2:]), together[2:])
    votes = masked_class_probabilities(made, pixels(4), vote=True)
    assert votes.argmax(dim=1).tolist() == each.argmax(dim=2).mode(dim=0).values.tolist()


def test_nearest_colours_are_the_nearest_and_the_first_of_equals() -> None:
    palette = torch.cat([even_palette(27), even_palette(27)])  # each colour twice
    found = nearest_colours(pixels(20, 32).permute(0, 2, 3, 1).reshape(-1, 3), palette)
    flat = pixels(20, 32).permute(0, 2, 3, 1).reshape(-1, 3)
    wanted = ((flat[:, None].double() - palette[None].double()) ** 2).sum(dim=2)
    assert torch.equal(found, wanted.argmin(dim=1))
    assert found.max() < 27
    with pytest.raises(TypeError, match="the palette is for uint8"):
        nearest_colours(flat.float(), palette)


def test_initial_values_are_the_release_s() -> None:
    torch.manual_seed(0)
    made = build(get_spec("igpt-tiny").with_classes(10))
    assert isinstance(made, IGPT)
    wide, deep = made.spec.width, made.spec.layers
    blocks = list(made.blocks)
    for values, wanted in (
        ([made.token_embedding.weight], 0.02),
        ([made.positional_embedding], 0.01),
        ([block.attn.in_proj.weight for block in blocks], wide**-0.5),  # type: ignore[union-attr]
        ([block.attn.out_proj.weight for block in blocks], (wide * deep) ** -0.5),  # type: ignore[union-attr]
        ([block.c_fc.weight for block in blocks], 0.02),  # type: ignore[union-attr]
        ([block.c_proj.weight for block in blocks], 0.02),  # type: ignore[union-attr]
    ):
        together = torch.cat([each.flatten() for each in values])  # type: ignore[union-attr]
        assert together.std().item() == pytest.approx(wanted, rel=0.1)  # of 512 numbers, 3 %
    assert not made.head.weight.any()
    assert made.class_head is not None
    assert not made.class_head.weight.any()


@pytest.mark.parametrize(
    ("name", "millions", "gflops"),
    [("igpt-s", 76.6, 206), ("igpt-m", 455.2, 1082), ("igpt-l", 1362.3, 3092), ("igpt-xl", 6801.4, 14_689)],
)
def test_sizes_are_the_paper_s(name: str, millions: float, gflops: int) -> None:
    assert round(REGISTRY[name].parameters() / 1e6, 1) == millions
    assert REGISTRY[name].image_flops() / 1e9 == pytest.approx(gflops, rel=0.005)  # counted without the head


def test_the_palette_is_in_the_checkpoint_and_bfloat16_stays_near() -> None:
    made = model()
    assert "palette" in made.state_dict()
    made.set_palette(torch.rand(11, 3) * 255)
    with torch.device("meta"):
        again = build(SPEC)
    again.load_state_dict(made.state_dict(), assign=True)
    again.reset_constants()
    exact = made(pixels(2))[0]
    torch.testing.assert_close(again(pixels(2))[0], exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near, colours, _ = again(pixels(2))
    assert near.dtype == torch.float32
    assert torch.equal(colours, made.colours(pixels(2)))
    assert (near - exact).abs().max() < 0.05 * exact.abs().max()
    with pytest.raises(ValueError, match="11 colours"):
        made.set_palette(torch.zeros(3, 3))
