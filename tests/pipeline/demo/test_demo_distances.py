"""On the demo web copies are near their original, and nothing else is near anything else: by deduplication's descriptors."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pipeline.demo.casting import COPY_BITS, COPY_RMS, EVALUATION_SCENES, MINIMUM_BITS, MINIMUM_RMS
from pipeline.demo.config import DemoWebConfig
from pipeline.demo.crowd import Crowd, Look
from pipeline.demo.digits import digit_pictures, render_digit
from pipeline.demo.scenes import render, scene_list
from pipeline.demo.site import build_site
from pipeline.pictures.descriptors import hamming, perceptual_hash, thumbnail8, thumbnail_distance

NEAR = ("deduplicate:near_duplicate", "decontaminate:near_evaluation")


def pictures(folder: Path) -> tuple[list[Image.Image], list[bool]]:
    """Every picture of the web that reaches deduplication, exact copies left out, and whether it is a near copy."""
    site = json.loads((folder / "site.json").read_text("utf-8"))
    images, near = [], []
    for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        key = row["url"].removeprefix("http://")
        while row["fate"] == "kept" and site["behaviours"].get(key, {}).get("kind") == "redirect":
            key = site["behaviours"][key]["to"].removeprefix("http://")
        if row["fate"] not in ("kept", "glut", *NEAR):
            continue
        image = ImageOps.exif_transpose(Image.open(BytesIO((folder / site["files"][key]["file"]).read_bytes())))
        if image.mode == "I;16":
            image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
        images.append(image.convert("RGB"))
        near.append(row["fate"] in NEAR)
    return images, near


def gaps(folder: Path) -> dict[str, Any]:
    """The largest distances between a near copy and its original, the smallest thumbnail distance of others with a near pHash."""
    evaluation = [digit.image for digit in digit_pictures("test")]
    evaluation += [render(scene) for scene in scene_list("test", EVALUATION_SCENES)]
    web, near = pictures(folder)
    images = evaluation + web
    looks = np.stack([np.frombuffer(thumbnail8(image), np.uint8) for image in images])
    hashes = np.array([perceptual_hash(image) for image in images], dtype=np.uint64)
    copy_rms, copy_bits, other_rms = [], [], []
    partners: dict[int, int] = {}
    order = [*np.flatnonzero(near), *np.flatnonzero(~np.array(near))]  # copies first, to know whose they are
    for i in (int(place) + len(evaluation) for place in order):
        rms, bits = thumbnail_distance(looks, looks[i]), hamming(hashes, hashes[i : i + 1])
        others = np.ones(len(images), dtype=bool)
        others[i] = False
        if near[i - len(evaluation)]:
            rms[i] = np.inf
            partners[i] = int(np.argmin(rms))
            partners[partners[i]] = i
            copy_rms.append(float(rms[partners[i]]))
            copy_bits.append(int(bits[partners[i]]))
        if i in partners:
            others[partners[i]] = False
        # Far in one descriptor is far enough: deduplication asks for both to be near.
        other_rms.append(float(rms[others & (bits < MINIMUM_BITS)].min(initial=np.inf)))
    return {
        "copies": sum(near),
        "pictures": len(web),
        "copy_rms": max(copy_rms),
        "copy_bits": max(copy_bits),
        "other_rms": min(other_rms),
    }


def test_copies_are_near_and_everything_else_is_far_in_one_descriptor(tmp_path: Path) -> None:
    config = DemoWebConfig.smoke()
    build_site(config, str(tmp_path))
    found = gaps(tmp_path)
    assert found["copies"] == config.near_duplicate + config.leaked_digits + config.leaked_scenes
    assert found["copy_rms"] <= COPY_RMS < MINIMUM_RMS <= found["other_rms"]
    assert found["copy_bits"] <= COPY_BITS < MINIMUM_BITS


def test_the_crowd_judges_like_a_comparison_with_every_member() -> None:
    images = [render(scene) for scene in scene_list("train", 60, 3)]
    images += [render_digit("train", index, 3).image for index in range(60)]
    crowd = Crowd(len(images), minimum_rms=60.0, minimum_bits=26)  # so strict that many fail
    kept: list[Image.Image] = []
    verdicts = []
    for image in images:
        far = [
            float(thumbnail_distance(*(np.frombuffer(thumbnail8(one), np.uint8) for one in (image, other)))) >= 60.0
            or (perceptual_hash(image) ^ perceptual_hash(other)).bit_count() >= 26
            for other in kept
        ]
        look = Look.of(image)
        assert crowd.stands_out(look) == all(far)
        if far.count(False) == 1:
            assert crowd.stands_out(look, but=far.index(False))
        verdicts.append(all(far))
        if all(far):
            assert crowd.add(look) == len(kept)
            kept.append(image)
    assert 10 < sum(verdicts) < 110
