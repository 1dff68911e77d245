"""The loader: an order that depends on no machine, positions that repeat and skip nothing, pixels as the twin has them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.check import check
from training.data.config import DataConfig
from training.data.loader import Loader
from training.data.order import SampleStream, epoch_order, picture_draws
from training.data.sources import open_data
from training.data.transforms import disturb, evaluation_pixels, random_square
from training.spec import REGISTRY
from training.tokens.tokenizer import Tokenizer

CONFIG = TrainConfig(
    model="clip-tiny", vocabulary_size=300, context_length=12, global_batch_size=12, steps=9, warmup_steps=0, seed=5
)


def picture(number: int) -> Image.Image:
    random = np.random.default_rng(number)
    return Image.fromarray(random.integers(0, 256, (40 + number % 7, 52, 3), dtype=np.uint8))


def encoded(number: int) -> bytes:
    sink = io.BytesIO()
    picture(number).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("dataset"))
    rows = [(f"http://x/{number}.png", f"picture number {number}", encoded(number)) for number in range(29)]
    write_dataset(folder, rows, samples_per_shard=10, format="png")
    return folder


def tokens_of(batch: Batch) -> torch.Tensor:
    assert batch.tokens is not None
    return batch.tokens


def loader(
    folder: str, rank: int = 0, world_size: int = 1, cache_mib: float = 1, config: TrainConfig = CONFIG
) -> Loader:
    config = config.model_copy(update={"data": config.data.model_copy(update={"decoded_cache_mib": cache_mib})})
    data = open_data(config.data, folder)
    return Loader(config, data, Tokenizer.train(data.all_captions(), 300, 12), 32, rank, world_size)


def test_every_epoch_has_every_sample_once_in_another_order() -> None:
    orders = [epoch_order(500, seed=1, epoch=epoch, manifest_id="m") for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(500))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], epoch_order(500, seed=2, epoch=0, manifest_id="m"))
    assert not np.array_equal(orders[0], epoch_order(500, seed=1, epoch=0, manifest_id="n"))


def test_the_order_is_the_one_it_has_always_been() -> None:
    # A resumed run depends on it: numpy's or our own change of order must not go unseen.
    assert epoch_order(8, seed=0, epoch=0, manifest_id="m").tolist() == FIRST_ORDER
    draws = picture_draws(0, np.array([3]), np.array([1]), 3)
    np.testing.assert_allclose(draws, [FIRST_DRAWS], rtol=0, atol=1e-9)


FIRST_ORDER = [0, 6, 3, 5, 1, 2, 4, 7]
FIRST_DRAWS = [0.2752350476820272, 0.1933412835253675, 0.4479885312203645]


def test_the_stream_goes_over_the_end_of_an_epoch_and_repeats_and_skips_nothing() -> None:
    stream = SampleStream(29, seed=5, manifest_id="m")
    samples = np.concatenate([stream.at(start, 12)[0] for start in range(0, 12 * 29, 12)])
    for epoch in range(12):
        assert sorted(samples[29 * epoch : 29 * epoch + 29].tolist()) == list(range(29))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_the_global_batches_are_the_same_for_any_number_of_ranks(folder: str, world_size: int) -> None:
    for seen in (0, 24):
        alone = loader(folder).batch(seen)
        parts = [loader(folder, rank, world_size).batch(seen) for rank in range(world_size)]
        assert torch.equal(torch.cat([part.pixels for part in parts]), alone.pixels)
        assert torch.equal(torch.cat([tokens_of(part) for part in parts]), tokens_of(alone))
        assert tuple(sample for part in parts for sample in part.samples) == alone.samples


def test_starting_in_the_middle_of_an_epoch_gives_what_would_have_come(folder: str) -> None:
    whole = list(loader(folder).batches(0, 6))
    tail = list(loader(folder).batches(4 * 12, 2))
    for ours, wanted in zip(tail, whole[4:], strict=True):
        assert ours.samples == wanted.samples
        assert torch.equal(ours.pixels, wanted.pixels)


def test_the_cache_changes_no_pixel(folder: str) -> None:
    kept, none, some = (loader(folder, cache_mib=size) for size in (1, 0, 40 * 52 * 3 * 3 / 2**20))
    for seen in (0, 12, 24):
        assert torch.equal(kept.batch(seen).pixels, none.batch(seen).pixels)
        assert torch.equal(kept.batch(seen).pixels, some.batch(seen).pixels)


def test_a_sample_is_its_own_picture_and_caption(folder: str) -> None:
    ours = loader(folder)
    batch = ours.batch(0)
    draws = picture_draws(CONFIG.seed, np.array(batch.samples), np.zeros(12, np.int64), 3)
    for row, sample in enumerate(batch.samples):
        box = random_square(*picture(sample).size, CONFIG.data.min_crop_side_fraction, *draws[row])
        wanted = np.asarray(picture(sample).resize((32, 32), Image.Resampling.BICUBIC, box=box))
        assert np.array_equal(batch.pixels[row].permute(1, 2, 0).numpy(), wanted)
        assert torch.equal(tokens_of(batch)[row], ours._tokenizer.encode([f"picture number {sample}"])[0])


def test_crops_are_squares_inside_the_picture_of_all_allowed_sides() -> None:
    draws = picture_draws(9, np.arange(4000), np.zeros(4000, np.int64), 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01
    boxes = np.array([random_square(60, 40, 0.8, *row) for row in draws])
    sides = boxes[:, 2] - boxes[:, 0]
    np.testing.assert_allclose(sides, boxes[:, 3] - boxes[:, 1])
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 60 + 1e-9
    assert boxes[:, 3].max() <= 40 + 1e-9
    assert 32 <= sides.min() < 32.1
    assert 39.9 < sides.max() <= 40


def test_disturbed_pictures_are_turned_stretched_and_lit_as_the_draws_say() -> None:
    pixels = torch.zeros(1, 3, 33, 33, dtype=torch.uint8)
    pixels[:, :, 16, 24] = 200  # eight pixels right of the centre
    still = disturb(pixels, torch.full((1, 4), 0.5), DataConfig(max_rotation_degrees=90.0))
    assert torch.equal(still, pixels)

    def where(draws: list[float], **limits: Any) -> tuple[int, int, int]:
        out = disturb(pixels, torch.tensor([draws]), DataConfig(**limits))[0, 0]
        row, column = divmod(int(out.argmax()), 33)
        return row, column, int(out.max())

    assert where([0.0, 0.5, 0.5, 0.5], max_rotation_degrees=90.0)[:2] == (24, 16)
    assert where([0.5, 1.0, 0.5, 0.5], max_stretch=0.5)[:2] == (16, 28)
    assert where([0.5, 0.5, 0.5, 0.0], max_brightness_change=0.25) == (16, 24, 150)


def test_disturbance_is_the_same_for_any_number_of_ranks_and_at_any_time(folder: str) -> None:
    config = CONFIG.model_copy(
        update={"data": DataConfig(max_rotation_degrees=15.0, max_stretch=0.2, max_brightness_change=0.1), "seed": 6}
    )
    alone = loader(folder, config=config).batch(24)
    parts = [loader(folder, rank, 3, config=config).batch(24) for rank in range(3)]
    assert torch.equal(torch.cat([part.pixels for part in parts]), alone.pixels)
    assert not torch.equal(alone.pixels, loader(folder, config=CONFIG.model_copy(update={"seed": 6})).batch(24).pixels)


def test_evaluation_takes_the_middle_square() -> None:
    wide = Image.fromarray(
        np.concatenate([np.zeros((32, 16, 3)), np.full((32, 32, 3), 200), np.zeros((32, 16, 3))], 1).astype(np.uint8)
    )
    pixels = evaluation_pixels(wide, REGISTRY["clip-tiny"])
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert (pixels == 200).all()


def test_an_error_in_the_loader_s_thread_reaches_the_caller(folder: str, tmp_path: Path) -> None:
    rows = [(f"http://x/{number}.png", "text", encoded(number)) for number in range(12)]
    manifest = write_dataset(str(tmp_path), rows, format="png")
    tar = tmp_path / manifest.shards[0].tar
    tar.write_bytes(b"\0" * tar.stat().st_size)
    with pytest.raises(DataError, match=r"00000\.tar: no picture; 100 pictures in turn cannot be read"):
        list(loader(str(tmp_path)).batches(0, 1))


def test_what_cannot_work_is_said_before_any_work_starts(folder: str, tmp_path: Path) -> None:
    data = open_data(DataConfig(), folder)
    with pytest.raises(DataError, match=r"train\.global_batch_size is 64 and the dataset has 29 pairs"):
        check(CONFIG.model_copy(update={"global_batch_size": 64}), data)
    write_dataset(str(tmp_path), [])
    with pytest.raises(DataError, match="the dataset is empty"):
        check(CONFIG, open_data(DataConfig(), str(tmp_path)))
    with pytest.raises(ConfigError, match=r"train\.warmup_steps is 9 and the run has 9 steps"):
        check(CONFIG.model_copy(update={"warmup_steps": 9}), data)
    long = {
        "steps": None,
        "epochs": 9 * 12 / data.rows,
        "warmup_steps": 2,
        "cooldown_steps": 8,
    }  # steps follow from the data
    with pytest.raises(
        ConfigError, match=r"cooldown_steps 8 are more than the run's 9 steps.*; lower train\.cooldown_steps"
    ):
        check(CONFIG.model_copy(update=long), data)
    check(CONFIG.model_copy(update=long | {"cooldown_steps": 7}), data)
    with pytest.raises(ConfigError, match="cannot be shared by 5 ranks"):
        loader(folder, rank=0, world_size=5)
    check(CONFIG, data)
