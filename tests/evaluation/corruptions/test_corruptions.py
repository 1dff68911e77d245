import numpy as np
import pytest

from evaluation.config import Corruption
from evaluation.corruptions.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from evaluation.corruptions.variants import Variant, drawn_pictures, summarise
from evaluation.pictures.pictures import load


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    digits, scenes = load("digits", "test"), load("scenes", "test")
    return [np.asarray(source.read(index)) for source in (digits, scenes) for index in range(8)]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_stronger_severity_is_farther_from_the_clean_picture(name: str, pictures: list[np.ndarray]) -> None:
    distances = [
        np.mean(
            [
                np.abs(corrupt(picture, name, severity, index, 0).astype(float) - picture).mean()
                for index, picture in enumerate(pictures)
            ]
        )
        for severity in SEVERITIES
    ]
    assert distances[0] > 0
    assert distances == sorted(distances)
    assert len(set(distances)) == 5


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_keeps_form_and_input_and_repeats_itself(name: str, pictures: list[np.ndarray]) -> None:
    for picture in (pictures[0], pictures[9][:40, :56].copy()):
        before = picture.copy()
        once = corrupt(picture, name, 3, 5, 0)
        assert once.dtype == np.uint8
        assert once.shape == picture.shape
        assert (picture == before).all()
        corrupt(pictures[1], name, 1, 0, 7)
        assert (corrupt(picture, name, 3, 5, 0) == once).all()


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "motion_blur"])
def test_seed_and_picture_number_change_what_is_random(name: str, pictures: list[np.ndarray]) -> None:
    once = corrupt(pictures[9], name, 5, 0, 0)
    assert (corrupt(pictures[9], name, 5, 1, 0) != once).any()
    assert (corrupt(pictures[9], name, 5, 0, 1) != once).any()


def test_noise_has_the_strength_that_it_names() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert np.std(corrupt(grey, "gaussian_noise", 2, 0, 0) / 255) == pytest.approx(0.08, rel=0.05)
    assert np.std(corrupt(grey, "shot_noise", 3, 0, 0) / 255) == pytest.approx((128 / 255 / 50) ** 0.5, rel=0.05)
    salted = corrupt(grey, "impulse_noise", 4, 0, 0)
    assert (salted == 255).mean() == pytest.approx(0.04, rel=0.1)
    assert (salted == 0).mean() == pytest.approx(0.04, rel=0.1)


def test_blur_keeps_flat_colour_and_total_light() -> None:
    flat = np.full((32, 32, 3), 77, np.uint8)
    dot = np.zeros((64, 64, 3), np.uint8)
    dot[32, 32] = 255
    for name in ("defocus_blur", "motion_blur"):
        assert (corrupt(flat, name, 5, 0, 0) == 77).all()
        # Every pixel is rounded to a whole number, so the light of a dot is kept to some tens of 255.
        assert corrupt(dot, name, 2, 0, 0)[:, :, 0].sum() == pytest.approx(255, abs=25)


def test_brightness_keeps_the_hue() -> None:
    picture = np.full((4, 4, 3), (100, 50, 25), np.uint8)
    assert corrupt(picture, "brightness", 3, 0, 0)[0, 0].tolist() == [176, 88, 44]


def test_the_configuration_offers_exactly_the_corruptions_there_are() -> None:
    assert set(Corruption.__args__) == set(CORRUPTIONS)  # type: ignore[attr-defined]


def test_the_mean_over_corruptions_is_the_mean_of_all_outcomes() -> None:
    random = np.random.default_rng(0)
    correct = {Variant(name, severity): random.random(30) < 0.6 for name in ("a", "b") for severity in SEVERITIES}
    scores = summarise(correct, 500, 0)
    assert scores["mean"].value == pytest.approx(np.mean(list(correct.values())))
    assert scores["a"].value == pytest.approx(np.mean([hits for v, hits in correct.items() if v.corruption == "a"]))
    assert scores["b/2"].value == correct[Variant("b", 2)].mean()
    assert scores["mean"].low < scores["mean"].value < scores["mean"].high


def test_pictures_to_corrupt_are_drawn_once_and_keep_their_labels() -> None:
    scenes = load("scenes", "test")
    drawn = drawn_pictures(scenes, 20, seed=3)
    assert drawn.count == 20
    assert drawn.identity == drawn_pictures(scenes, 20, seed=3).identity
    assert drawn.identity != drawn_pictures(scenes, 20, seed=4).identity
    assert drawn_pictures(scenes, 1000, seed=3) is scenes
    place = [scenes.column("caption").index(text) for text in drawn.column("caption")]
    assert (np.asarray(drawn.read(4)) == np.asarray(scenes.read(place[4]))).all()
