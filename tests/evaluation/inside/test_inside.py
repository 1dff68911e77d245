"""What is seen inside a model against the model itself and slow sums."""

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.inside.attention import attention_weights, has_attention, mean_distances, reaching_the_answer, rollout
from evaluation.inside.map import feature_map
from evaluation.inside.mistakes import confidence, confused_pairs, small_picture, surest_mistakes
from evaluation.inside.weights import patch_kernel, patch_positions, position_similarity, principal_filters
from training.spec import build, get_spec


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return build(get_spec("clip-tiny")).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8))


@torch.no_grad()
def test_the_weights_are_those_that_the_models_own_attention_mixes_with(model: Any, pixels: torch.Tensor) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    blocks = model.visual.transformer.blocks
    hooks = [block.attn.register_forward_hook(lambda _, i, o: seen.append((i[0], o))) for block in blocks]
    looked = attention_weights(model, pixels)
    assert looked.shape[:3] == (len(blocks), 3, blocks[0].attn.heads)
    for block, (x_BTW, out_BTW), weights_BHTT in zip(blocks, seen, looked, strict=True):
        B, T, W = x_BTW.shape
        v_BHTw = block.attn.in_proj(x_BTW)[..., 2 * W :].view(B, T, block.attn.heads, -1).transpose(1, 2)
        mixed = block.attn.out_proj((weights_BHTT @ v_BHTw).transpose(1, 2).reshape(B, T, W))
        torch.testing.assert_close(mixed, out_BTW, atol=1e-5, rtol=1e-4)
    assert len(blocks[0].attn._forward_pre_hooks) == 0
    for hook in hooks:
        hook.remove()
    assert not has_attention(build(get_spec("clip-tiny-rn")))


def test_distances_are_the_weighted_mean_over_pairs_of_patches() -> None:
    random, side, patch = np.random.default_rng(1), 3, 8
    T = side * side + 1
    weights = random.random((2, 2, 2, T, T))
    weights /= weights.sum(axis=-1, keepdims=True)
    slow = np.zeros((2, 2))
    for layer, head in np.ndindex(2, 2):
        for picture in range(2):
            for ask in range(side * side):
                among = weights[layer, picture, head, ask + 1, 1:]
                for other in range(side * side):
                    far = patch * np.hypot(ask // side - other // side, ask % side - other % side)
                    slow[layer, head] += among[other] / among.sum() * far / (2 * side * side)
    np.testing.assert_allclose(mean_distances(torch.from_numpy(weights).float(), patch), slow, rtol=1e-5)


def test_rollout_is_the_product_from_the_first_layer_on() -> None:
    weights = torch.softmax(torch.randn(3, 2, 4, 5, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    slow = np.eye(5)
    for layer in range(3):
        slow = (0.5 * weights[layer, 1].mean(dim=0).numpy() + 0.5 * np.eye(5)) @ slow
    np.testing.assert_allclose(rollout(weights)[1].numpy(), slow, atol=1e-6)
    np.testing.assert_allclose(rollout(weights).sum(dim=-1).numpy(), 1, atol=1e-5)
    np.testing.assert_allclose(reaching_the_answer(weights)[1].ravel(), slow[0, 1:] / slow[0, 1:].max(), atol=1e-5)
    whole = torch.softmax(torch.randn(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert reaching_the_answer(whole).shape == (1, 2, 2)  # no class token: the mean over all patches


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
