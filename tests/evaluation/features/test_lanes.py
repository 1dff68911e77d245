"""Lanes and readers: any number of them gives the features of a plain loop, and names the same broken picture."""

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from evaluation.corruptions.variant import Variant
from evaluation.features.config import FeaturesConfig
from evaluation.features.lanes import Lanes
from evaluation.features.pixels import picture_pixels, square_of
from evaluation.features.store import FeatureStore
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import CPU_UNIT, Encoder, torch_threads
from evaluation.models.layers import EMBEDDING, PENULTIMATE, TOKENS
from evaluation.models.own import own_encoder
from evaluation.pictures.pictures import Pictures, load
from pipeline.errors import DataError
from training.data.resize import Pixels
from training.saving.checkpoint import Checkpoint

WANTED = [Wanted(EMBEDDING), Wanted(TOKENS), Wanted(PENULTIMATE), Wanted(EMBEDDING, Variant("contrast", 3))]


@pytest.mark.parametrize(("threads", "decoders"), [(1, 1), (3, 1), (4, 3)])
def test_any_number_of_threads_gives_the_features_of_a_plain_loop(
    checkpoint_folder: str, tmp_path: Path, threads: int, decoders: int
) -> None:
    encoder = Encoder(Checkpoint.load(checkpoint_folder), 64)
    pictures = load("digits", "test").subset(range(3 * CPU_UNIT + 5))
    with torch_threads(threads):
        made = FeatureStore(str(tmp_path), encoder, 0, FeaturesConfig(decoders=decoders)).get(pictures, WANTED)
    for want in WANTED:
        rows = []
        for start in range(0, pictures.count, CPU_UNIT):
            squares = []
            for index in range(start, min(start + CPU_UNIT, pictures.count)):
                square: Pixels = np.empty((3, encoder.form.side, encoder.form.side), np.uint8)
                pixels = picture_pixels(pictures, index)
                pixels = want.variant.applied(pixels, index, 0) if want.variant else pixels
                square_of(pixels, encoder.form, square)
                squares.append(square)
            with torch_threads(1):
                rows.append(encoder.features(np.stack(squares), [want.layer])[want.layer])
        assert np.array_equal(made[want], np.concatenate(rows)), want


def test_the_first_broken_picture_is_named_whoever_meets_one_first(checkpoint_folder: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 99, 200)).save(file, "PNG")

    def stored(index: int) -> bytes:
        time.sleep(0.01 if index == 21 else 0)  # the later ones are known to be broken before
        return b"no picture" if index in (21, 22, 23, 60) else file.getvalue()

    def read(index: int) -> Image.Image:
        return Image.open(io.BytesIO(stored(index)))

    ids = [f"p{number}" for number in range(80)]
    pictures = Pictures("broken/test", "broken", {"id": ids}, read, 80, stored)
    encoder = Encoder(Checkpoint.load(checkpoint_folder), 64)
    for _ in range(3):
        with torch_threads(4), pytest.raises(DataError, match=r"picture 21 \(p21\) cannot be read"):
            FeatureStore(str(tmp_path), encoder, 0, FeaturesConfig(decoders=4)).get(pictures, [Wanted()])
    assert not list(tmp_path.iterdir())


def test_no_more_units_are_held_than_lanes_want() -> None:
    """A reader far ahead of the model would fill memory with squares."""
    begun, done, most = 0, 0, 0

    def make(_: int, out: Pixels) -> None:
        nonlocal begun
        begun += 1
        out[:] = 7

    def run(squares: NDArray[np.uint8]) -> int:
        nonlocal done, most
        most = max(most, begun - done)
        time.sleep(0.002)
        done += squares.shape[1]
        return int(squares.sum())

    units = [range(start, start + 4) for start in range(0, 80, 4)]
    found = list(Lanes(make, run, readers=8, lanes=1).through(units, 1, 2))
    assert found == [(rows, 7 * 4 * 3 * 2 * 2) for rows in units]
    assert 4 <= most <= 3 * 4


MINE = """
import threading
import numpy as np

inside = threading.Lock()

class Mine:
    name, side = "alone", 8

    def images(self, pixels):
        assert inside.acquire(blocking=False), "two at a time"
        assert len(pixels) in (32, 6, 2), len(pixels)  # of two it is asked once, by which it is told
        rows = pixels.reshape(len(pixels), 3, -1).mean(axis=2)
        inside.release()
        return rows

def load():
    return Mine()
"""


def test_code_of_the_user_s_own_gets_whole_batches_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    encoder = own_encoder(f"{tmp_path}/mine.py:load", 32)
    pictures = load("digits", "test").subset(range(70))
    with torch_threads(3):
        rows = FeatureStore(str(tmp_path), encoder, 0).get(pictures, [Wanted(PENULTIMATE)])[Wanted(PENULTIMATE)]
    assert rows.shape == (70, 3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("lane", "decode"))]


def test_a_probe_after_zero_shot_decodes_nothing(checkpoint_folder: str, tmp_path: Path) -> None:
    """It reads another layer, which the same forward gave."""
    encoder = Encoder(Checkpoint.load(checkpoint_folder), 64)
    pictures = load("digits", "test").subset(range(20))
    FeatureStore(str(tmp_path), encoder, 0).get(pictures, [Wanted()])
    second = FeatureStore(str(tmp_path), encoder, 0)
    assert second.get(pictures, [Wanted(PENULTIMATE)])[Wanted(PENULTIMATE)].shape == (20, encoder.spec.image.features)
    assert (second.decoded, second.encoded) == (0, 0)
