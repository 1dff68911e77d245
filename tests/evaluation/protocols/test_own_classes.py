"""A classifier's own head is measured by the names of its classes, in whatever order it has them, and never by position."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evaluation.catalog.benchmarks import find, prompts_of
from evaluation.catalog.words import imagenet_classes_of
from evaluation.config import EvaluateConfig
from evaluation.models.encoder import Encoder
from evaluation.models.layers import CLASSES, PENULTIMATE
from evaluation.pictures.pictures import load
from evaluation.protocols.answers import groups, of_classes, places, unable
from evaluation.run import evaluate
from pipeline.errors import DataError
from training.data.transforms import evaluation_pixels
from training.models.igpt_masks import masked_class_probabilities
from training.saving.checkpoint import Checkpoint, checksums, write_model
from training.saving.meanings import Meanings
from training.spec import build, get_spec

NAMES = ("seven", "3", "Zero", "unheard of", "1", "2", "4", "5", "6", "8", "nine")
"""Some by the dataset's word, some by a spoken name, one that digits have not."""
OF_DIGIT = np.array([2, 4, 5, 1, 6, 7, 8, 0, 9, 10])


def saved(folder: Path, model: str, names: tuple[str, ...], config: dict[str, object]) -> Checkpoint:
    spec = get_spec(model).with_classes(len(NAMES))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build(spec)
        torch.nn.init.normal_((made.head if model.startswith("vit") else made.class_head).weight)  # type: ignore[union-attr,arg-type]
    write_model(str(folder), made.state_dict(), Meanings(classes=names))
    checkpoint = Checkpoint(str(folder), spec, 0, 0, "none", config, 1, checksums(str(folder)))
    checkpoint.save()
    return checkpoint


def squares(encoder: Encoder, count: int) -> np.ndarray:
    test = load("digits", "test", 360)
    return np.stack([evaluation_pixels(test.read(n), encoder.spec).numpy() for n in range(count)])


def test_answers_are_joined_to_the_datasets_words_by_name(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "model", "vit-tiny-8", NAMES, {})
    config = EvaluateConfig(
        tasks=("digits", "scenes-place"),
        protocols=("own_classes", "robustness"),
        corruptions=("contrast",),
        robustness_pictures=12,
        threads=1,
        bootstrap_resamples=100,
    )
    report = evaluate(config, checkpoint.folder, str(tmp_path / "kept"))
    encoder, test = Encoder(checkpoint, 64), load("digits", "test", 360)
    logits_NK = encoder.features(squares(encoder, 360), [CLASSES])[CLASSES]
    truth = np.array([int(word) for word in test.column("label")])
    direct = float((logits_NK[:, OF_DIGIT].argmax(axis=1) == truth).mean())
    assert report.score("digits/own_classes/top1/head").value == pytest.approx(direct, abs=1e-6)
    assert report.details["digits"]["own_classes"]["model_classes"] == len(NAMES)
    clean = report.score("digits/robustness/top1/clean")
    kept = [row for row in report.outcomes.to_pylist() if row["protocol"] == "robustness" and row["variant"] == "clean"]
    whole = {row["index"]: row["correct"] for row in report.outcomes.to_pylist() if row["protocol"] == "own_classes"}
    assert clean.n == 12
    assert [row["correct"] for row in kept] == [whole[row["index"]] for row in kept]
    row = next(each for each in report.absent if each["task"] == "scenes-place")
    assert row["status"] == "unfit"
    assert "the model has no class" in row["reason"]


def test_a_layer_beside_the_classes_comes_too(tmp_path: Path) -> None:
    encoder = Encoder(saved(tmp_path, "vit-tiny-8", NAMES, {}), 4)
    made = encoder.features(squares(encoder, 2), [CLASSES, PENULTIMATE])
    assert made[CLASSES].shape == (2, len(NAMES))
    assert made[PENULTIMATE].shape == (2, 128)


def test_two_classes_of_one_name_are_none() -> None:
    with pytest.raises(DataError, match="the model has 2 classes '1'"):
        places(SimpleNamespace(class_names=("0", "1", "1")), prompts_of("digits"), "digits")  # type: ignore[arg-type]


@pytest.mark.parametrize("generative", ["next_pixel", "masked_pixels"])
def test_igpt_that_learned_from_masked_pictures_is_asked_with_masks(tmp_path: Path, generative: str) -> None:
    checkpoint = saved(tmp_path, "igpt-tiny", NAMES, {"objective": {"kind": "joint", "generative": generative}})
    encoder = Encoder(checkpoint, 4)
    found = encoder.features(squares(encoder, 3), [CLASSES])[CLASSES]
    model, pixels = checkpoint.model(), torch.from_numpy(squares(encoder, 3))
    masked = masked_class_probabilities(model, pixels).log().numpy()  # type: ignore[arg-type]
    whole = model(pixels)[2].numpy()
    assert np.abs(masked - whole).max() > 1e-3
    np.testing.assert_allclose(found, masked if generative == "masked_pixels" else whole, atol=1e-5)


@pytest.mark.parametrize("task", ["objectnet", "imagenet-vid-robust", "ytbb-robust"])
def test_a_head_of_imagenets_classes_answers_where_several_of_them_fall_on_one(task: str) -> None:
    """The likeliest of ImageNet's classes that fall on a class speaks for it (imagenet-testbed); one that lacks some cannot."""
    random = np.random.default_rng(0)
    names = tuple(random.permutation(list(prompts_of("imagenet").classes)).tolist())
    encoder = SimpleNamespace(class_names=names, reads_text=False, name="vit")
    assert unable(find(task), encoder) is None  # type: ignore[arg-type]
    logits_NK = random.normal(size=(20, 1000)).astype(np.float32)
    found_NC = of_classes(logits_NK, groups(encoder, find(task)))  # type: ignore[arg-type]
    falls_on = imagenet_classes_of(task)
    for row, logits_K in enumerate(logits_NK):
        of_synset = dict(zip(names, logits_K.tolist(), strict=True))
        told = [max(of_synset[synset] for synset in falls_on[label]) for label in prompts_of(task).classes]
        np.testing.assert_array_equal(found_NC[row], np.float32(told))
    assert max(len(synsets) for synsets in falls_on.values()) > 1
    fewer = SimpleNamespace(class_names=names[1:], reads_text=False, name="vit")
    assert "the model has no class" in (unable(find(task), fewer) or "")  # type: ignore[arg-type]
