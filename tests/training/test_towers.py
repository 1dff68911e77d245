"""Positions at other sizes, the bag of words, a learned bias; what a tower cannot be."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from training.checkpoint import Checkpoint
from training.checkpoints_config import CheckpointsConfig
from training.config import TrainConfig
from training.models.adapt import adapted
from training.models.bag_of_words import BagOfWords
from training.models.positions import resized_grid
from training.spec import REGISTRY, build, read_spec
from training.specs.clip import ClipSpec
from training.specs.towers import ImageTower, WordsTower
from training.train import train

TINY = REGISTRY["clip-tiny"].with_text(300, 16)


def keys(x: float) -> float:
    """Keys's cubic (1981) with a = -1/2."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def weights_along(before: int, after: int) -> Tensor:
    """(after, before): each new place as a weighted mean of old ones; the kernel widens where the grid shrinks."""
    scale = before / after
    reach = max(1.0, scale)
    rows = torch.zeros(after, before, dtype=torch.float64)
    for place in range(after):
        middle = (place + 0.5) * scale
        for old in range(before):
            rows[place, old] = keys((old + 0.5 - middle) / reach)
        rows[place] /= rows[place].sum()
    return rows


@pytest.mark.parametrize(("before", "after", "extra"), [(7, 12, 1), (12, 7, 1), (4, 6, 0)])
def test_positions_are_resized_as_a_picture_is(before: int, after: int, extra: int) -> None:
    torch.manual_seed(0)
    positions = torch.randn(before**2 + extra, 5)
    made = resized_grid(positions, after)
    assert torch.equal(made[:extra], positions[:extra])
    along = weights_along(before, after)
    grid = positions[extra:].double().view(before, before, 5)
    slow = torch.einsum("ij,kl,jlw->ikw", along, along, grid).reshape(after**2, 5)
    torch.testing.assert_close(made[extra:].double(), slow, rtol=1e-4, atol=1e-5)
    assert torch.equal(resized_grid(positions, before), positions)
    with pytest.raises(DataError, match="no square grid"):
        resized_grid(torch.zeros(19, 5), 3)


@pytest.mark.parametrize("name", ["clip-tiny", "clip-tiny-rn"])
def test_a_model_takes_pictures_of_another_size_and_sees_nearly_the_same(name: str) -> None:
    torch.manual_seed(0)
    small = REGISTRY[name].with_text(300, 16)
    large = small.with_image_size(2 * small.image_size)
    model, grown = build(small).eval(), build(large).eval()
    grown.load_state_dict(adapted(model.state_dict(), grown.state_dict(), "there"))
    pixels = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    before = model.image_features(pixels)
    after = grown.image_features(pixels.repeat_interleave(2, 2).repeat_interleave(2, 3))
    other = grown.image_features(pixels.flip(0).repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert before.shape == after.shape
    assert torch.cosine_similarity(before, after)[[0, 2]].min() > torch.cosine_similarity(before, other)[[0, 2]].max()


def test_what_no_tower_can_be_is_a_line_with_the_way_out() -> None:
    for change, said in (
        ({"size": 230}, r"patches of 14 pixels do not divide pictures of 230; use 224 or 238"),
        ({"size": 8}, r"do not divide pictures of 8; use 14 or 28"),
        ({"heads": 7}, r"a width of 64 cannot be shared by 7 heads"),
        ({"stem": "convolutions"}, r"14 pixels are no power of two: use 8"),
    ):
        with pytest.raises(ConfigError, match=said):
            replace(ImageTower(224, 14, 64, 1, 2), **change)
    with pytest.raises(ConfigError, match="not known here"):
        read_spec({**TINY.to_json(), "image": {"kind": "swin", "size": 224}})


def test_a_bag_of_words_is_the_mean_of_what_stands_between_start_and_end() -> None:
    torch.manual_seed(0)
    bag = BagOfWords(WordsTower(width=8, context=6, vocabulary=20))
    rows = torch.tensor([[18, 3, 5, 3, 19, 0], [18, 19, 0, 0, 0, 0], [18, 1, 2, 3, 4, 19]])
    table = bag.token_embedding.weight
    expected = [(table[3] + table[5] + table[3]) / 3, table[19], table[1:5].mean(dim=0)]
    torch.testing.assert_close(bag(rows), torch.stack(expected))
    shuffled = rows[:1][:, [0, 2, 1, 3, 4, 5]]
    torch.testing.assert_close(bag(shuffled), bag(rows[:1]))


def test_the_sigmoid_loss_s_bias_is_a_fourth_output_with_its_start() -> None:
    assert isinstance(TINY, ClipSpec)
    spec = replace(TINY, logit_bias=True)
    model = build(spec)
    pixels, tokens = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.tensor([[298, 5, 299]] * 2)
    *_, scale, bias = model(pixels, tokens)
    assert (scale.item(), bias.item()) == (pytest.approx(10.0), -10.0)
    assert spec.parameters() == sum(each.numel() for each in model.parameters()) == TINY.parameters() + 1
    assert read_spec(spec.to_json()) == spec
    assert math.isclose(build(TINY)(pixels, tokens)[2].item(), 1 / 0.07, rel_tol=1e-6)


def test_the_other_tiny_models_train_and_go_on_where_they_stopped(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = []
    for number in range(12):
        sink = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(sink, "PNG")
        rows.append((f"http://x/{number}", f"picture number {number}", sink.getvalue()))
    write_dataset(str(tmp_path / "data"), rows, format="png")
    base = TrainConfig(
        vocabulary_size=300, context_length=12, global_batch_size=8, steps=3, warmup_steps=1, threads_per_worker=1
    )
    often = base.model_copy(update={"checkpoints": CheckpointsConfig(every_steps=1)})
    for name in ("clip-tiny-rn", "clip-tiny-bow"):
        config, folder = often.model_copy(update={"model": name}), str(tmp_path / name)
        whole = [step.loss for step in train(config, str(tmp_path / "data"), f"{folder}-whole")]
        part = train(config, str(tmp_path / "data"), folder)
        first = [next(part).loss, next(part).loss]
        part.close()
        rest = [step.loss for step in train(config, str(tmp_path / "data"), folder)]
        assert first + rest[-1:] == whole
        ours, other = (
            Checkpoint.load(f"{each}/checkpoint").model().state_dict() for each in (folder, f"{folder}-whole")
        )
        assert all(torch.equal(ours[key], other[key]) for key in other)
        means = [each for key, each in ours.items() if key.endswith("running_mean")]
        assert bool(means) == (name == "clip-tiny-rn")
        assert all(each.any() for each in means)
