"""Models of pictures alone: probed, at every layer where they give them, and never asked in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.config import EvaluateConfig
from evaluation.models.open import open_encoder
from evaluation.pictures.pictures import load
from evaluation.probe.config import ProbeConfig
from evaluation.report import Report
from evaluation.run import evaluate
from pipeline.errors import ConfigError
from tests.evaluation.test_parts import shop
from training.data.transforms import evaluation_pixels
from training.saving.checkpoint import Checkpoint, checksums, write_model
from training.saving.meanings import Meanings
from training.spec import build, get_spec


def random_weights(name: str) -> Any:
    torch.manual_seed(0)
    return build(get_spec(name)).eval().requires_grad_(False)


def untrained(name: str, folder: Path) -> str:
    """A checkpoint of a model with random weights."""
    write_model(str(folder), random_weights(name).state_dict(), Meanings())
    Checkpoint(str(folder), get_spec(name), 0, 0, "none", {}, 1, checksums(str(folder))).save()
    return str(folder)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    protocols = ("zero_shot", "linear_probe", "layers", "robustness", "retrieval")
    config = EvaluateConfig(
        tasks=("digits", "scenes-retrieval"), threads=1, bootstrap_resamples=100, probe=ProbeConfig(search_gap=0.3)
    ).model_copy(update={"protocols": protocols})
    config.model_fields_set.discard("protocols")  # as the defaults are: what cannot be asked is left out
    return evaluate(
        config, untrained("igpt-tiny", tmp_path_factory.mktemp("model")), str(tmp_path_factory.mktemp("features"))
    )


def test_a_model_of_pixels_is_probed_at_every_layer_and_the_best_is_chosen_unseen(report: Report) -> None:
    assert {score.protocol for score in report.scores} == {"linear_probe", "layers"}
    found = report.details["digits"]["linear_probe"]
    assert list(found["layers"]) == [f"layer-{n}" for n in range(get_spec("igpt-tiny").layers + 1)]  # type: ignore[attr-defined]
    validation = {layer: each["validation"] for layer, each in found["layers"].items()}
    assert validation[found["layer"]] == max(validation.values())
    assert report.score("digits/linear_probe/top1/test").value == found["layers"][found["layer"]]["test"]
    joined = report.details["digits"]["layers"]
    assert joined["curve"] == found["layers"]
    assert joined["best"] == found["layer"] in joined["together"]
    assert len(joined["together"]) == 5
    assert report.score("digits/layers/top1/5 layers").n == 360


def test_a_layers_features_are_those_of_the_model_itself(tmp_path: Path) -> None:
    encoder, model = open_encoder(untrained("igpt-tiny", tmp_path), 4), random_weights("igpt-tiny")
    pictures = load("digits", "test", 360)
    squares = np.stack([evaluation_pixels(pictures.read(n), encoder.spec).numpy() for n in range(3)])
    made = encoder.features(squares, ["layer-0", "layer-5"])
    pixels = torch.zeros((1, 3, 8, 8), dtype=torch.uint8)
    alone = encoder.features(pixels.numpy(), ["layer-5"])["layer-5"]
    assert made["layer-0"].shape == made["layer-5"].shape == (3, get_spec("igpt-tiny").width)  # type: ignore[attr-defined]
    np.testing.assert_allclose(alone, model.image_features(pixels, 5).numpy(), atol=1e-6)


@pytest.mark.parametrize("model", ["vit-tiny-8", "igpt-tiny"])
def test_to_ask_it_in_words_is_one_line(model: str, tmp_path: Path) -> None:
    folder, features = untrained(model, tmp_path / "model"), str(tmp_path / "features")
    with pytest.raises(
        ConfigError, match=rf"zero_shot asks in words, and {model} reads none; use some of \[linear_probe, "
    ):
        evaluate(EvaluateConfig(tasks=("digits",), protocols=("zero_shot",)), folder, features)
    with pytest.raises(ConfigError, match="scenes-place has no training pictures; add one such as digits"):
        evaluate(EvaluateConfig(tasks=("scenes-place",)), folder, features)


CLASSED = """
import numpy as np
class Reddish:
    name, side, class_names = "reddish", 8, ["apple", "pear"]
    def images(self, pixels):
        return pixels.reshape(len(pixels), -1).astype(np.float32) + 1
    def classes(self, pixels):
        red = pixels[:, 0].mean(axis=(1, 2)).astype(np.float32) / 255
        return np.stack([red, 1 - red], axis=1)
def load():
    return Reddish()
"""


def test_a_model_of_named_classes_shows_its_mistakes(tmp_path: Path) -> None:
    """They were shown of models that read text alone: a ViT's page had none."""
    card = shop(tmp_path, "fruit")
    (tmp_path / "mine.py").write_text(CLASSED)
    config = EvaluateConfig(tasks=(card,), protocols=("own_classes", "inside"), threads=1, bootstrap_resamples=100)
    found = evaluate(config, f"{tmp_path / 'mine.py'}:load", str(tmp_path / "features"))
    assert found.absent == ()
    assert found.score("fruit/own_classes/top1/head").value == 0  # pears are the red ones
    inside = found.details["fruit"]["inside"]
    assert [(each["label"], each["answer"]) for each in inside["mistakes"]] == [("apple", "pear")] * 2 + [
        ("pear", "apple")
    ] * 2
    assert inside["mistakes"][0]["confidence"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-4)
    assert inside["mistakes"][-1]["confidence"] == pytest.approx(1 / (1 + np.exp(-(2 * 200 / 255 - 1))), abs=1e-4)
    assert {(each["label"], each["answer"], each["count"]) for each in inside["confused"]} == {
        ("apple", "pear", 2),
        ("pear", "apple", 2),
    }
    assert found.telemetry["pictures_decoded"] == 4
