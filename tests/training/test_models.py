"""CLIP against slow, obvious definitions."""

import math

import pytest
import torch
from torch import Tensor

from training.models.blocks import Attention, QuickGELU
from training.models.clip import INITIAL_LOGIT_SCALE
from training.models.ragged import ragged, rounded
from training.spec import REGISTRY, build
from training.specs.towers import PIXEL_MEAN, PIXEL_STD

SPEC = REGISTRY["clip-tiny"].with_text(vocabulary=300, context=16)


def pixels(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    size = SPEC.image.size
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def texts_with_ends() -> Tensor:
    rows = torch.zeros(3, 16, dtype=torch.long)
    for row, length in enumerate((2, 7, 12)):
        rows[row, : length + 2] = torch.tensor([298, *range(5, 5 + length), 299])
    return rows


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_softmax_of_scaled_products(causal: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3, causal)
    x = torch.randn(2, 5, 12)
    out = torch.zeros_like(x)
    for sample in range(2):
        q, k, v = attention.in_proj(x[sample]).split(12, dim=1)
        heads = []
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            scores = q[:, part] @ k[:, part].T / math.sqrt(4)
            if causal:
                scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
            heads.append(scores.softmax(dim=1) @ v[:, part])
        out[sample] = attention.out_proj(torch.cat(heads, dim=1))
    torch.testing.assert_close(attention(x), out)


def test_quick_gelu_is_x_times_sigmoid() -> None:
    x = torch.linspace(-4, 4, 9)
    torch.testing.assert_close(QuickGELU()(x), x / (1 + torch.exp(-1.702 * x)))


def test_embeddings_have_unit_length_and_the_paper_s_temperature() -> None:
    image, text, scale = build(SPEC)(pixels(3), texts_with_ends())
    assert image.shape == text.shape == (3, SPEC.embedding)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))
    assert scale.item() == pytest.approx(1 / 0.07)
    assert math.log(1 / 0.07) == INITIAL_LOGIT_SCALE


def test_a_text_s_embedding_does_not_depend_on_the_longer_texts_beside_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(SPEC).eval()
    together = model.encode_text(texts_with_ends())
    alone = torch.cat([model.encode_text(row[None]) for row in texts_with_ends()])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_texts_without_their_padding_have_the_features_and_gradients_of_texts_with_it() -> None:
    """The slow twin computes every place up to the longest; the embedding of 0, which stands in the padding, gets no gradient."""
    torch.manual_seed(0)
    model = build(SPEC).text
    tokens = texts_with_ends().repeat(5, 1)  # so many that some padding fills their number up
    ends_B = tokens.argmax(dim=1)
    short = ragged(ends_B, int(ends_B.max()) + 1)
    assert short is not None
    assert len(short.places_N) > int((ends_B + 1).sum())
    wanted = torch.randn(len(tokens), SPEC.text.width)
    found, gradients = [], []
    for packed in (True, False):
        if packed:
            features = model(tokens)
        else:
            x = model.token_embedding(tokens) + model.positional_embedding
            features = model.ln_final(model.transformer(x)[range(len(tokens)), ends_B])
        model.zero_grad()
        (features * wanted).sum().backward()
        found.append(features.detach())
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)
    for name, gradient in gradients[0].items():
        error = (gradient - gradients[1][name]).norm() / gradients[1][name].norm()
        assert error < 1e-6, name
    assert not gradients[0]["token_embedding.weight"][0].any()


def test_full_texts_keep_their_rows_and_short_ones_lose_their_padding() -> None:
    assert ragged(torch.tensor([4, 4, 4]), 5) is None
    short = ragged(torch.tensor([1, 4, 0]), 5)
    assert short is not None
    assert short.places_N.tolist() == [0, 1, 5, 6, 7, 8, 9, 10]
    x_NW = torch.arange(16.0).view(8, 2)
    assert torch.equal(short.packed(short.padded(x_NW)), x_NW)
    assert not short.padded(x_NW)[0, 2:].any()


def test_few_numbers_of_tokens_arise_and_those_that_fill_them_up_are_padding_that_nobody_reads() -> None:
    assert {rounded(tokens) for tokens in range(600, 700)} == {608, 640, 672, 704}
    assert all(tokens <= rounded(tokens) <= tokens * 17 / 16 for tokens in range(1, 5000))
    ends_B = torch.tensor([20, 3, 7, 1] * 4)
    short = ragged(ends_B, 21)
    assert short is not None
    tokens = int((ends_B + 1).sum())  # 140: 4 more are taken
    wanted = [text * 21 + place for text, end in enumerate(ends_B.tolist()) for place in range(end + 1)]
    assert short.places_N.tolist()[:tokens] == wanted
    added = short.places_N.tolist()[tokens:]
    assert len(added) == rounded(tokens) - tokens == 4
    assert not set(added) & set(wanted)
    assert all(place % 21 > ends_B[place // 21] for place in added)


def test_pixels_are_normalised_inside_and_only_uint8_is_taken() -> None:
    model = build(SPEC).eval()
    seen: list[Tensor] = []
    model.visual.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.encode_image(pixels(2))
    mean, std = torch.tensor(PIXEL_MEAN).view(3, 1, 1), torch.tensor(PIXEL_STD).view(3, 1, 1)
    torch.testing.assert_close(seen[0], (pixels(2).float() / 255 - mean) / std)
    with pytest.raises(TypeError, match="takes uint8"):
        model.encode_image(pixels(2).float())


def test_image_features_are_what_the_projection_projects() -> None:
    model = build(SPEC).eval()
    features = model.image_features(pixels(2))
    assert features.shape == (2, SPEC.image.width)
    torch.testing.assert_close(model.image_projection(features), model.encode_image(pixels(2)))


def test_patch_dropout_leaves_out_patches_with_their_positions_while_training_only() -> None:
    torch.manual_seed(0)
    model = build(SPEC)
    model.visual.patch_dropout = 0.5
    patches = torch.arange(2 * 16 * SPEC.image.width, dtype=torch.float).view(2, 16, -1)
    kept = model.visual._some_patches(patches)
    assert kept.shape == (2, 8, SPEC.image.width)
    for sample in range(2):
        rows = {tuple(row.tolist()) for row in patches[sample]}
        found = {tuple(row.tolist()) for row in kept[sample]}
        assert len(found) == 8
        assert found <= rows
    assert not torch.equal(model.encode_image(pixels(2)), model.encode_image(pixels(2)))
    model.eval()
    assert torch.equal(model.encode_image(pixels(2)), model.encode_image(pixels(2)))


def test_bfloat16_towers_stay_near_float32() -> None:
    torch.manual_seed(0)
    model = build(SPEC).eval()
    exact, _, _ = model(pixels(4), texts_with_ends()[[0, 1, 2, 0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near, _, _ = model(pixels(4), texts_with_ends()[[0, 1, 2, 0]])
    assert near.dtype == torch.float32
    assert (exact * near).sum(dim=1).min() > 0.999
