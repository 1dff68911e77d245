"""What is seen inside a model against the model itself and slow sums."""

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.inside.attention import followed, look, mean_distances, reaching_the_answer, seer, weights_of
from evaluation.inside.map import feature_map
from evaluation.inside.mistakes import confidence, confused_pairs, small_picture, surest_mistakes
from evaluation.inside.weights import patch_kernel, patch_positions, position_similarity, principal_filters
from training.spec import build, get_spec


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return build(get_spec("clip-tiny")).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ["clip-tiny", "igpt-tiny"])
def test_the_weights_are_those_that_the_models_own_attention_mixes_with(name: str) -> None:
    torch.manual_seed(0)
    model: Any = build(get_spec(name)).eval()
    side = model.spec.image_size
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, side, side), np.uint8))
    watched = seer(model)
    assert watched is not None
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    hooks = [each.register_forward_hook(lambda _, i, o: seen.append((i[0], o))) for each in watched.attentions]
    watched.run(pixels)
    for hook in hooks:
        hook.remove()
    through = np.eye(seen[0][0].shape[1])
    distances = []
    for attention, (x_BTW, out_BTW) in zip(watched.attentions, seen, strict=True):
        weights_BHTT = weights_of(attention, x_BTW, watched.causal)
        v_BHTw = attention.in_proj(x_BTW)[..., 2 * x_BTW.shape[2] :].unflatten(2, (attention.heads, -1)).transpose(1, 2)
        mixed = attention.out_proj((weights_BHTT @ v_BHTw).transpose(1, 2).flatten(2))
        torch.testing.assert_close(mixed, out_BTW, atol=1e-5, rtol=1e-4)
        through = (0.5 * weights_BHTT[1].mean(dim=0).numpy() + 0.5 * np.eye(len(through))) @ through
        distances.append(mean_distances(weights_BHTT, watched.patch_pixels, watched.causal))
    looked = look(watched, pixels)
    np.testing.assert_allclose(looked.distances, distances, rtol=1e-5)
    # The class token's row, the first; or the mean over iGPT's places, each of which holds the pixel before it.
    row = np.append(through.mean(axis=0)[1:], 0) if watched.causal else through.mean(axis=0)
    row = through[0, 1:] if len(through) == 17 else row
    np.testing.assert_allclose(looked.reaches[1].ravel(), row / row.max(), atol=1e-4)
    assert not watched.attentions[0]._forward_pre_hooks
    assert seer(build(get_spec("clip-tiny-rn"))) is None


def test_distances_are_the_weighted_mean_over_pairs_of_patches() -> None:
    random, side, patch = np.random.default_rng(1), 3, 8
    T = side * side + 1
    weights = random.random((2, 2, T, T))
    weights /= weights.sum(axis=-1, keepdims=True)
    slow = np.zeros(2)
    for head, picture, ask, other in np.ndindex(2, 2, side * side, side * side):
        among = weights[picture, head, ask + 1, 1:]
        far = patch * np.hypot(ask // side - other // side, ask % side - other % side)
        slow[head] += among[other] / among.sum() * far / (2 * side * side)
    np.testing.assert_allclose(mean_distances(torch.from_numpy(weights).float(), patch), slow, rtol=1e-5)


def test_distances_of_a_causal_model_are_between_the_pixels_that_its_places_hold() -> None:
    random, side = np.random.default_rng(4), 3
    weights = np.tril(random.random((1, 1, side * side, side * side)))
    weights /= weights.sum(axis=-1, keepdims=True)
    held = [None, *np.ndindex(side, side)][: side * side]  # the start vector, then every pixel but the last
    slow = []
    for ask, at in list(enumerate(held))[1:]:
        among = weights[0, 0, ask, 1:]
        far = [np.hypot(at[0] - other[0], at[1] - other[1]) for other in held[1:]]
        slow.append((among * far).sum() / among.sum())
    found = mean_distances(torch.from_numpy(weights).float(), 1, causal=True)
    np.testing.assert_allclose(found, [np.mean(slow)], rtol=1e-5)


def test_a_class_token_is_the_answer_where_there_is_one() -> None:
    weights = torch.softmax(torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    through = followed(weights, followed(weights, None))
    np.testing.assert_allclose(through.sum(dim=-1).numpy(), 1, atol=1e-5)
    row = through[1, 0, 1:].numpy()
    np.testing.assert_allclose(reaching_the_answer(through)[1].ravel(), row / row.max(), atol=1e-5)


def test_filters_come_back_from_what_they_were_mixed_of() -> None:
    random = np.random.default_rng(2)
    basis, _ = np.linalg.qr(random.normal(size=(48, 2)))
    mixed = (random.normal(size=(64, 2)) * [5, 1]) @ basis.T
    found = principal_filters(mixed.reshape(64, 4, 4, 3).transpose(0, 3, 1, 2), most=3)
    assert found.explained[:2].sum() == pytest.approx(1)
    first = found.components[0].ravel()
    assert abs(np.corrcoef(first, basis[:, 0])[0, 1]) > 0.95
    assert (found.components.min(), found.components.max()) == (0, 1)


def test_positions_are_most_like_themselves(model: Any) -> None:
    positions = patch_positions(model)
    assert positions is not None
    similarity, asked = position_similarity(positions, shown=3)
    side = int(len(positions) ** 0.5)
    assert similarity.shape == (3, 3, side, side)
    for row, down in enumerate(asked):
        for column, right in enumerate(asked):
            assert np.unravel_index(similarity[row, column].argmax(), (side, side)) == (down, right)
    assert patch_kernel(model).shape[1] == 3  # type: ignore[union-attr]
    assert patch_positions(build(get_spec("clip-tiny-rn"))) is None


def test_the_map_keeps_groups_apart_and_repeats_itself() -> None:
    random = np.random.default_rng(3)
    features = np.concatenate([random.normal(size=(30, 64)) * 0.2 + centre for centre in np.eye(3, 64) * 5])
    made = feature_map(features)
    assert made.points.min() == 0
    assert made.points.max() == 1
    assert made.trust > 0.9
    assert (feature_map(features).points == made.points).all()
    middles = made.points.reshape(3, 30, 2).mean(axis=1)
    spread = np.linalg.norm(made.points.reshape(3, 30, 2) - middles[:, None], axis=-1).mean()
    assert min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 3 * spread
    assert feature_map(features[:4]).points.shape == (4, 2)


def test_mistakes_are_ordered_by_how_sure_the_model_was() -> None:
    labels, answers = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 0, 2, 1])
    sure = np.array([0.9, 0.5, 0.8, 0.95, 0.3, 0.7])
    assert surest_mistakes(labels, answers, sure, 3) == [3, 2, 5]
    first, *rest = confused_pairs(labels, answers, sure, 3, 5)
    assert tuple(first) == (1, 0, 2, 2, 3)
    assert {(pair.label, pair.answer) for pair in rest} == {(0, 1), (2, 1)}
    cosines = np.array([[0.2, 0.1], [0.3, 0.3]])
    assert confidence(cosines, 10.0) == pytest.approx([1 / (1 + np.exp(-1)), 0.5])
    small = Image.open(io.BytesIO(base64.b64decode(small_picture(np.zeros((300, 200, 3), np.uint8)))))
    assert small.size == (64, 96)
