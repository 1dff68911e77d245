"""Losses of classes and pixels against their definitions, and their draws against ranks and chunks."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.batch import Batch
from training.models.draws import row_draws
from training.models.igpt import IGPT
from training.objectives.classify import label_shares, mixed
from training.objectives.config import KINDS, METRICS
from training.objectives.objective import Objective, fit_spec, make_objective
from training.objectives.pixels import masked_mean
from training.spec import build, get_spec


def objective(model: str, classes: int = 0, **chosen: Any) -> Objective:
    config = TrainConfig.model_validate({"model": model, "objective": chosen})
    spec = get_spec(model)
    return make_objective(config, spec.with_classes(classes) if classes else spec)


def batch(rows: int, size: int = 8, labels: Tensor | None = None) -> Batch:
    pixels = torch.randint(0, 256, (rows, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Batch(pixels, labels=labels, samples=tuple(range(rows)))


def test_the_metrics_that_best_checkpoints_can_be_kept_by_are_those_that_each_objective_measures() -> None:
    texts = torch.tensor([[6, 1, 2, 7], [6, 3, 7, 0]])
    for model, kinds in {
        "clip-tiny": "clip",
        "vit-tiny-8": "vit",
        "igpt-tiny": "igpt",
        "captioner-tiny": "captioner",
    }.items():
        for kind in KINDS[kinds]:
            config = TrainConfig.model_validate({"model": model, "objective": {"kind": kind}})
            spec = get_spec(model)
            spec = spec.with_text(8, 4) if kinds in ("clip", "captioner") else spec.with_classes(3)
            made = make_objective(config, fit_spec(config, spec))
            rows = replace(batch(2, spec.image_size, torch.tensor([0, 2])), tokens=texts)
            with row_draws(torch.arange(2)):
                _, metrics = made.loss(build(fit_spec(config, spec))(*made.inputs(rows)), rows)
            assert {*metrics} - {"logit_scale"} == {*METRICS[kind]}


def test_cross_entropy_with_smoothing_is_torch_s_and_unlabelled_rows_give_nothing() -> None:
    logits = torch.randn(4, 10, requires_grad=True)
    labels = torch.tensor([3, 9, 0, -1])
    plain = objective("vit-tiny-8", label_smoothing=0.1)
    loss, metrics = plain.loss(logits, batch(4, 32, labels))
    wanted = functional.cross_entropy(logits[:3], labels[:3], label_smoothing=0.1, reduction="sum") / 4
    torch.testing.assert_close(loss, wanted)
    assert metrics["accuracy"].item() == pytest.approx((logits[:3].argmax(1) == labels[:3]).float().mean().item())
    assert not torch.autograd.grad(loss, logits)[0][3].any()


def test_a_sigmoid_per_class_sums_over_classes_and_takes_several_labels() -> None:
    logits, labels = torch.randn(3, 10), (torch.rand(3, 10) < 0.3).float()
    loss, _ = objective("vit-tiny-8", independent_classes=True).loss(logits, batch(3, 32, labels))
    chance = torch.sigmoid(logits)
    wanted = -(labels * chance.log() + (1 - labels) * (1 - chance).log()).sum(dim=1).mean()
    torch.testing.assert_close(loss, wanted)


def test_several_labels_share_a_picture_s_weight_under_a_softmax_and_any_of_them_is_right() -> None:
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(2), requires_grad=True)
    labels = torch.zeros(4, 10)
    sets = [[3], [1, 7], [0, 4, 9], []]
    for row, classes in enumerate(sets):
        labels[row, classes] = 1
    each = -logits.log_softmax(dim=1)
    wanted = sum(each[row, classes].mean() for row, classes in enumerate(sets[:3])) / 4
    rows = batch(4, 32, labels)
    loss, metrics = objective("vit-tiny-8", 10).loss(logits, rows)
    torch.testing.assert_close(loss, wanted)
    right = sum(int(logits[row].argmax()) in classes for row, classes in enumerate(sets))
    assert metrics["accuracy"].item() == pytest.approx(right / 3)
    assert objective("vit-tiny-8", 10).loss(labels * 5, rows)[1]["accuracy"].item() == 1
    # One label as a list of one is that label; no label pulls nowhere, smoothed or not.
    smooth = objective("vit-tiny-8", 10, label_smoothing=0.1)
    one = smooth.loss(logits[:1], batch(1, 32, torch.tensor([3])))[0]
    torch.testing.assert_close(smooth.loss(logits[:1], batch(1, 32, labels[:1]))[0], one)
    assert not torch.autograd.grad(smooth.loss(logits, rows)[0], logits)[0][3].any()
    # iGPT beside its pixels: the same.
    model, kind = build(get_spec("igpt-tiny").with_classes(10)), objective("igpt-tiny", 10, kind="joint")
    outputs = model(*kind.inputs(batch(4)))
    metrics = kind.loss((*outputs[:2], logits), batch(4, 8, labels))[1]
    torch.testing.assert_close(metrics["class_loss"], wanted.detach())
    assert metrics["accuracy"].item() == pytest.approx(right / 3)


def test_mixup_mixes_pictures_and_labels_by_the_same_share_however_the_batch_is_cut() -> None:
    kind = objective("vit-tiny-8", mixup_alpha=0.5)
    labels = torch.arange(8) % 10
    whole, keys = batch(8, 32, labels), torch.arange(100, 108)
    with row_draws(keys):
        (pictures,) = kind.inputs(whole)
        loss, _ = kind.loss(torch.eye(8, 10) * 5, whole)
    parts, losses = [], []
    for part in (slice(0, 2), slice(2, 8)):
        piece = Batch(whole.pixels[part], labels=labels[part])
        with row_draws(keys[part]):
            parts += kind.inputs(piece)
            losses.append(kind.loss(torch.eye(8, 10)[part] * 5, piece)[0] * len(piece))
    assert torch.equal(torch.cat(parts), pictures)
    torch.testing.assert_close(sum(losses) / 8, loss)
    # The share can be read from the pixels of row 0: all its pixels lie between it and its partner.
    first, second, got = (each.double() for each in (whole.pixels[0], whole.pixels[1], pictures[0]))
    apart = (first - second).abs() > 100
    shares = ((got - second) / (first - second))[apart]
    assert shares.std() < 0.01
    assert 0 < shares.mean() < 1
    with pytest.raises(ConfigError, match="a chunk has 3 rows"):
        kind.inputs(batch(3, 32))


def test_shares_of_mixup_follow_the_beta_distribution() -> None:
    kind = objective("vit-tiny-8", mixup_alpha=0.2)
    with row_draws(torch.arange(4000)):
        shares = kind._shares(4000)  # type: ignore[attr-defined]
    assert stats.kstest(shares.numpy(), stats.beta(0.2, 0.2).cdf).pvalue > 0.01
    assert torch.equal(
        mixed(torch.tensor([1.0, 3, 5, 9]), torch.tensor([1.0, 0, 0.5, 0.5])), torch.tensor([1.0, 1, 7, 7])
    )


def test_labels_that_do_not_fit_are_one_line() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(DataError, match="has no labels"):
        label_shares(None, 10, cpu)
    with pytest.raises(DataError, match="a label is 10 and the model has classes 0 to 9"):
        label_shares(torch.tensor([10]), 10, cpu)
    with pytest.raises(DataError, match="labels have 4 classes and the model 10"):
        label_shares(torch.zeros(2, 4), 10, cpu)
    with pytest.raises(ConfigError, match="joint and the data has no labels"):
        objective("igpt-tiny", kind="joint")


def test_next_pixel_starts_at_the_log_of_the_colours_in_nats_and_bits() -> None:
    model = build(get_spec("igpt-tiny"))
    kind = objective("igpt-tiny")
    loss, metrics = kind.loss(model(*kind.inputs(batch(3))), batch(3))
    assert loss.item() == pytest.approx(math.log(16), abs=1e-5)  # zero-initialised head
    assert metrics["bits_per_pixel"].item() == pytest.approx(4, abs=1e-5)


def test_masks_are_bernoulli_draws_of_each_pixel_that_do_not_depend_on_how_the_batch_is_cut() -> None:
    kind = objective("igpt-tiny", kind="masked_pixels")
    keys = torch.arange(5000, 5200)
    with row_draws(keys):
        _, keep = kind.inputs(batch(200))
    assert keep.shape == (200, 64)
    masked = (~keep).float()
    assert masked.mean().item() == pytest.approx(0.15, abs=0.01)
    assert masked.mean(dim=0).std().item() == pytest.approx(math.sqrt(0.15 * 0.85 / 200), rel=0.3)
    with row_draws(keys[7:9]):
        assert torch.equal(kind.inputs(Batch(batch(200).pixels[7:9]))[1], keep[7:9])


def test_the_masked_loss_is_the_mean_over_masked_pixels_per_picture_then_over_pictures() -> None:
    each = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 9, 9, 9]])
    masked = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    assert masked_mean(each, masked).item() == pytest.approx((1 + 6.5 + 0) / 3)
    torch.manual_seed(0)
    model, kind = build(get_spec("igpt-tiny")), objective("igpt-tiny", kind="masked_pixels")
    torch.nn.init.normal_(model.head.weight)  # type: ignore[union-attr, arg-type]
    rows = batch(4)
    with row_draws(torch.arange(4)):
        pixels, keep = kind.inputs(rows)
        logits, colours, classes = model(pixels, keep)
        loss, _ = kind.loss((logits, colours, classes), rows)
        logits = logits.detach() + 100 * keep[:, :, None] * torch.rand(logits.shape)  # kept places do not count
        same, _ = kind.loss((logits, colours, classes), rows)
    torch.testing.assert_close(loss, same)
    loss.backward()
    assert model.start.grad is not None  # every parameter takes part under ZeRO
    assert not model.start.grad.any()


def test_joint_learning_adds_the_classes_loss_to_the_pixels() -> None:
    rows = batch(4, labels=torch.tensor([0, 1, 2, 3]))
    torch.manual_seed(0)
    model = build(get_spec("igpt-tiny").with_classes(10))
    for generative in ("next_pixel", "masked_pixels"):
        kind = objective("igpt-tiny", 10, kind="joint", generative=generative, generative_weight=0.5)
        assert kind.needs == {"label"}
        with row_draws(torch.arange(4)):
            loss, metrics = kind.loss(model(*kind.inputs(rows)), rows)
        assert loss.item() == pytest.approx(0.5 * math.log(16) + math.log(10), abs=1e-4)
        assert metrics["class_loss"].item() == pytest.approx(math.log(10), abs=1e-5)


def test_the_palette_of_a_new_model_comes_from_the_first_pictures_or_a_file(tmp_path: Any) -> None:
    model = build(get_spec("igpt-tiny"))
    assert isinstance(model, IGPT)
    asked = []

    def pictures(count: int) -> Tensor:
        asked.append(count)
        return torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1).expand(count, 3, 8, 8)

    objective("igpt-tiny").prepare(model, pictures)
    assert asked == [4096]
    assert model.palette.tolist() == [[10, 20, 30]] * 16
    np.save(tmp_path / "mine.npy", np.arange(48).reshape(16, 3))
    objective("igpt-tiny", palette=str(tmp_path / "mine.npy")).prepare(model, pictures)
    assert model.palette[1].tolist() == [3, 4, 5]
    assert asked == [4096]
