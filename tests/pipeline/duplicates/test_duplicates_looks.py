"""Copies under other light, in grey or behind a bar look the same; another colour of the same thing does not."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageEnhance
from pools import thumbnails_fit

from pipeline.demo import digits
from pipeline.demo.scenes import COLOURS, render, scene_list
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.hamming import near_pairs
from pipeline.duplicates.looks import looks_of
from pipeline.pictures.descriptors import describe

CONFIG = DeduplicateConfig(colour_distance=9.0)


def pairs_of(pictures: list[Image.Image], config: DeduplicateConfig) -> set[tuple[int, int]]:
    """The pairs that look the same."""
    seen = [describe(np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])) for picture in pictures]
    facts = pa.table({"thumbnail8": [each.thumbnail8 for each in seen], "phash256": [each.phash256 for each in seen]})
    hashes = np.array([each.phash for each in seen], np.uint64)
    return {(a, b) for a, b in near_pairs(hashes, config.radius, looks_of(config, facts)).tolist()}


def altered(random: np.random.Generator) -> tuple[bytes, bytes]:
    """Two thumbnails: one is the other under some light, in other or no colours, with a bar, or a stranger."""
    shape = random.normal(0, random.choice([1.0, 12.0, 40.0]), (8, 8, 1))
    tint = random.normal(0, random.choice([1.0, 6.0, 20.0]), 3) * random.normal(0.5, 0.5, (8, 8, 1))
    other_shape = shape * random.uniform(0.6, 1.6) + random.normal(0, random.choice([0.5, 9.0]), (8, 8, 1))
    other_tint = tint * random.uniform(0.5, 1.6) * (random.random() < 0.8)
    if random.random() < 0.3:
        other_tint = np.roll(other_tint, 1, axis=2)
    pictures = [128 + shape + tint, 128 + other_shape + other_tint + random.normal(0, 8)]
    if random.random() < 0.4:
        pictures[1] = np.rot90(pictures[1])
        pictures[1][0] = 0
        pictures[1] = np.rot90(pictures[1], -1)
        if random.random() < 0.5:
            pictures = [np.rot90(each, 2) for each in pictures]
    first, second = (np.clip(each, 0, 255).astype(np.uint8).tobytes() for each in pictures)
    return first, second


def test_the_verdict_is_the_twins_and_the_same_from_either_side() -> None:
    random = np.random.default_rng(0)
    drawn = [altered(random) for _ in range(1500)]
    same = np.zeros((2, 32), np.uint8)
    verdicts = []
    for pair in drawn:
        facts = pa.table({"thumbnail8": [*pair, *pair[::-1]], "phash256": [each.tobytes() for each in (*same, *same)]})
        found = near_pairs(np.array([1, 1, 2**40, 2**40], np.uint64), 0, looks_of(CONFIG, facts))
        assert len(found) in (0, 2)  # both orders, or neither
        verdicts.append(len(found) == 2)
        assert verdicts[-1] == thumbnails_fit(*pair, 9.0)
    assert 300 < sum(verdicts) < 1200


def barred(picture: Image.Image) -> Image.Image:
    changed = picture.copy()
    ImageDraw.Draw(changed).rectangle((0, 59, 63, 63), fill="black")
    return changed


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "flatter": lambda picture: ImageEnhance.Contrast(picture).enhance(0.75),
    "paler": lambda picture: ImageEnhance.Color(picture).enhance(0.7),
    "barred": barred,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_under_other_light_is_found_where_its_hash_is(change: str) -> None:
    pictures = [render(scene) for scene in scene_list("train", 64, 5)]
    every = [*pictures, *map(CHANGES[change], pictures)]
    own = {(place, place + 64) for place in range(64)}
    met = own & pairs_of(every, CONFIG.model_copy(update={"thumbnails": "ignored"}))
    assert len(met) > 30
    assert len(own & pairs_of(every, CONFIG)) >= 0.95 * len(met)
    if change in ("grey", "brighter", "barred"):
        plain = CONFIG.model_copy(update={"thumbnails": "plain"})
        assert len(own & pairs_of(every, plain)) < 0.5 * len(met)


def test_one_drawing_in_two_colours_is_two_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [
        render(dataclasses.replace(scene, colour=colour)) for scene in scene_list("train", 24, 6) for colour in COLOURS
    ]
    draw = digits._paper_and_ink
    written = []
    for index, paper, ink in itertools.product(range(6), ("white", "yellow", "blue", "green"), digits._INKS):
        monkeypatch.setattr(digits, "_paper_and_ink", lambda random, chosen=(paper, ink): (draw(random), chosen)[1])
        written.append(digits.render_digit("train", index * 31).image)
    for drawings in (scenes, written):
        assert len(pairs_of(drawings, DeduplicateConfig(thumbnails="ignored"))) > 100
        assert pairs_of(drawings, DeduplicateConfig()) == set()
