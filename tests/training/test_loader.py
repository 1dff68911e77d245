"""The loader under trouble: broken pictures and shards, processes that are killed, other numbers of ranks, remote shards."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from pipeline import storage
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import Manifest
from training.config import TrainConfig
from training.data.augment import Augmentation, inception_box
from training.data.batch import Batch
from training.data.check import check
from training.data.config import DataConfig, SourceConfig
from training.data.decode import BrokenPictureError
from training.data.loader import Loader
from training.data.order import picture_draws
from training.data.part import DataFile
from training.data.pictures import Reader
from training.data.randaugment import DRAWS_PER_LAYER, OPERATIONS, randaugment
from training.data.shard_cache import ShardCache
from training.data.sources import open_data
from training.tokens.tokenizer import Tokenizer

ROWS, BATCH = 60, 12
TOKENIZER = Tokenizer.train(["number 1", "number 2"], 300, 12)


def picture(number: int) -> bytes:
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    sink = io.BytesIO()
    coarse.resize((70 + number % 9, 64), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=90)
    return sink.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    rows = [(f"http://x/{n}.jpg", f"number {n}", picture(n)) for n in range(ROWS)]
    write_dataset(str(tmp_path / "set"), rows, samples_per_shard=10)
    return str(tmp_path / "set")


def loader(folder: str, rank: int = 0, ranks: int = 1, epochs: float = 2, **data: Any) -> Loader:
    settings = DataConfig(**({"shuffle_window_samples": 20} | data))
    config = TrainConfig(
        model="clip-tiny", global_batch_size=BATCH, epochs=epochs, warmup_steps=0, seed=3, data=settings
    )
    return Loader(config, open_data(settings, folder), TOKENIZER, 16, rank, ranks)


def same(left: Batch, right: Batch) -> bool:
    assert left.tokens is not None
    assert right.tokens is not None
    tokens, pixels = torch.equal(left.tokens, right.tokens), torch.equal(left.pixels, right.pixels)
    return left.samples == right.samples and tokens and pixels


def test_resumed_at_another_world_size_nothing_is_repeated_or_skipped(folder: str) -> None:
    whole = [batch.samples for batch in loader(folder).batches(0, 10)]
    parts = [list(loader(folder, rank, 2).batches(0, 3)) for rank in range(2)]
    parts2 = [list(loader(folder, rank, 3).batches(3 * BATCH, 7)) for rank in range(3)]
    seen = [sum((part[step].samples for part in parts), ()) for step in range(3)]
    seen += [sum((part[step].samples for part in parts2), ()) for step in range(7)]
    assert seen == whole
    stream = [sample for samples in whole for sample in samples]
    assert sorted(stream[:ROWS]) == sorted(stream[ROWS:]) == list(range(ROWS))


def test_threads_make_the_same_batches(folder: str) -> None:
    wanted = [loader(folder).batch(step * BATCH) for step in range(4)]
    for crew in ({"threads": 3}, {"batches_ahead": 1}, {"decoded_cache_mib": 0}):
        made = list(loader(folder, **crew).batches(0, 4))
        assert all(same(*pair) for pair in zip(made, wanted, strict=True)), crew


def of_workers() -> set[int]:
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "training.data.worker" in child.cmdline():
                found.add(child.pid)
    return found


def test_processes_make_the_same_batches_also_when_they_are_killed_and_end_with_the_loader(folder: str) -> None:
    spoil(folder, 7)
    wanted = [loader(folder, max_broken_share=0.1).batch(step * BATCH) for step in range(8)]
    made = loader(folder, processes=2, batches_ahead=3, max_broken_share=0.1).batches(0, 12)
    got = [next(made)]
    first = of_workers()
    assert 1 <= len(first) <= 2
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    got += [next(made) for _ in range(7)]
    assert all(same(*pair) for pair in zip(got, wanted, strict=True))
    assert of_workers().isdisjoint(first)
    made.close()  # type: ignore[attr-defined]
    assert of_workers() == set()


def test_a_killed_parent_takes_its_processes_along(folder: str) -> None:
    code = (
        "import sys, time; from tests.training.test_loader import *\n"
        "batches = loader(sys.argv[1], processes=1).batches(0, 12); next(batches)\n"
        "print(*of_workers(), flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def spoil(folder: str, sample: int) -> str:
    """Overwrite one picture in its tar; the size stays."""
    manifest = Manifest.load(folder)
    shard = manifest.shards[sample // 10]
    index = storage.read_table(storage.join(folder, shard.index))
    offset = index.column("image_offset")[sample % 10].as_py()
    path = Path(folder) / shard.tar
    data = bytearray(path.read_bytes())
    data[offset : offset + index.column("image_bytes")[sample % 10].as_py()] = (
        b"\0" * index.column("image_bytes")[sample % 10].as_py()
    )
    path.write_bytes(data)
    return str(path)


def test_a_broken_picture_is_counted_and_replaced_alike_on_all_ranks(folder: str) -> None:
    before = loader(folder)
    whole = [before.batch(step * BATCH).samples for step in range(10)]
    broken = {7, 33}
    paths = {spoil(folder, sample) for sample in broken}
    for ranks in (1, 2, 3):
        ours = [loader(folder, rank, ranks, max_broken_share=0.1) for rank in range(ranks)]
        for step in range(9):
            samples = sum((each.batch(step * BATCH).samples for each in ours), ())
            # At its place stands what a batch later does, and never a broken one.
            for place, (got, wanted) in enumerate(zip(samples, whole[step], strict=True)):
                later = whole[step + 1][place]
                assert got == (later if wanted in broken and later not in broken else wanted) or wanted in broken
                assert got not in broken
        counted = sum((each.broken for each in ours), start=type(ours[0].broken)())
        assert set(counted) == paths
        assert sum(each.broken_samples for each in ours) == sum(
            sample in broken for samples in whole[:9] for sample in samples
        )


def test_too_many_broken_pictures_stop_the_run_naming_the_shard(folder: str) -> None:
    for sample in range(20, 30):
        path = spoil(folder, sample)
    ours = loader(folder, max_broken_share=0.1)
    with pytest.raises(DataError) as error:
        list(ours.batches(0, 10))
    assert path in str(error.value)
    assert "of its pictures cannot be read" in str(error.value)
    assert "past train.data.max_broken_share 0.1" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(list(loader(folder, max_broken_share=0.2).batches(0, 10))) == 10
    os.remove(path)
    with pytest.raises(DataError, match=r"00002\.tar: missing"):
        loader(folder)


def test_fast_decoding_reduces_large_pictures_only(tmp_path: Path) -> None:
    rows = [(f"http://x/{n}.jpg", "text", picture(n)) for n in range(BATCH)]
    write_dataset(str(tmp_path), rows)
    exact, fast = (loader(str(tmp_path), decode=kind).batch(0).pixels.int() for kind in ("exact", "fast"))
    gap = (exact - fast).abs().float().mean()
    assert 0 < gap < 3
    again = loader(str(tmp_path), decode="fast", decoded_cache_mib=0).batch(0).pixels.int()
    assert torch.equal(fast, again)


# --- augmentation -------------------------------------------------------------------------------------------------------


def test_inception_boxes_have_the_area_and_shape_they_should() -> None:
    draws = picture_draws(1, np.arange(4000), np.zeros(4000, np.int64), 40)
    boxes = np.array([inception_box(400, 300, 0.05, row) for row in draws.tolist()])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 400
    assert boxes[:, 3].max() <= 300
    share = width * height / 120_000
    assert 0.045 < share.min() < 0.06
    assert share.max() > 0.9
    ratio = width / height
    assert 0.74 < ratio.min() < 0.77
    assert 1.3 < ratio.max() < 1.36
    assert inception_box(1000, 1, 1.0, [0.5] * 40) == (499.5, 0.0, 500.5, 1.0)


@pytest.mark.parametrize("kind", ["square", "inception", "short_side", "none"])
def test_augmentations_are_functions_of_seed_epoch_and_sample(kind: str) -> None:
    config = DataConfig(augmentation=kind, flip_probability=0.5, randaugment_layers=2)  # type: ignore[arg-type]
    samples, epochs = np.arange(50), np.zeros(50, np.int64)
    ours = Augmentation(config, 1)
    draws = ours.draws(samples, epochs)
    assert np.array_equal(ours.draws(samples[20:], epochs[20:]), draws[20:])
    assert not np.array_equal(ours.draws(samples, epochs + 1), draws)
    assert not np.array_equal(Augmentation(config, 2).draws(samples, epochs), draws)
    for row in draws.tolist():
        left, top, right, bottom = ours.box(90, 60, row)
        assert 0 <= left < right <= 90
        assert 0 <= top < bottom <= 60
        if kind == "short_side":
            assert 60 * 224 / 384 - 1e-9 <= right - left <= 60 * 224 / 256 + 1e-9
    mirrored = np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8)
    plain = mirrored.copy()
    Augmentation(DataConfig(augmentation="none", flip_probability=0.5), 1).change(mirrored, [0.49])
    assert np.array_equal(mirrored, plain[:, :, ::-1])


def test_each_operation_of_randaugment_that_is_drawn_is_done() -> None:
    pixels = np.random.default_rng(0).integers(20, 200, (3, 32, 32), dtype=np.uint8)
    changed = []
    for number in range(len(OPERATIONS)):
        draws = [(number + 0.5) / len(OPERATIONS), 0.9, 0.5, 0.5]
        assert len(draws) == DRAWS_PER_LAYER
        out = randaugment(pixels, 7, draws)
        assert out.shape == pixels.shape
        assert out.dtype == np.uint8
        changed.append(not np.array_equal(out, pixels))
    assert all(changed)
    assert np.array_equal(randaugment(pixels, 7, []), pixels)


# --- remote shards: `local://` is fsspec's word for this machine's disk, which openwit takes for a remote store ----------


def test_remote_shards_come_through_the_cache_or_by_ranges(folder: str, tmp_path: Path) -> None:
    wanted = [loader(folder).batch(step * BATCH) for step in range(5)]
    far = f"local://{folder}"
    for room in (0, 100):
        made = loader(far, cache_folder=str(tmp_path / "cache"), shard_cache_mib=room, threads=2).batches(0, 5)
        assert all(same(*pair) for pair in zip(made, wanted, strict=True))
    assert len(list((tmp_path / "cache" / "shards").glob("[0-9a-f]*"))) >= 4
    small = loader(far, cache_folder=str(tmp_path / "cache"), shard_cache_mib=0)
    config = small._config.model_copy(update={"data": small._config.data.model_copy(update={"shard_cache_mib": 1})})
    check(config, small._data)


def test_a_cache_too_small_for_the_windows_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sink = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(sink, "PNG")
    rows = [(f"http://x/{n}.png", "text", sink.getvalue()) for n in range(40)]
    write_dataset(str(tmp_path / "set"), rows, samples_per_shard=4, format="png")
    big = loader(f"local://{tmp_path / 'set'}", shard_cache_mib=2, cache_folder=str(tmp_path / "cache"))
    with pytest.raises(
        ConfigError, match=r"shard_cache_mib is 2 and two windows of the shuffle need about 4; raise it"
    ):
        check(big._config, big._data)


def files_of(folder: Path, count: int, size: int) -> list[DataFile]:
    found = []
    for number in range(count):
        data = bytes([number]) * size
        (folder / f"{number}.tar").write_bytes(data)
        found.append(DataFile(f"local://{folder}/{number}.tar", size, storage.sha256(data)))
    return found


def test_the_cache_stays_within_its_room_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    files = files_of(tmp_path, 5, 1000)
    cache = ShardCache(str(tmp_path / "cache"), 3000)
    where = [Path(cache.local(file)) for file in files[:3]]
    for age, path in zip((30, 10, 20), where, strict=True):
        os.utime(path, (time.time() - age, time.time() - age))
    cache.local(files[3])
    assert [path.exists() for path in where] == [False, True, True]
    cache.local(files[4])
    assert [path.exists() for path in where] == [False, True, False]
    assert Path(cache.local(files[0])).read_bytes() == bytes(1000)
    assert sum(path.stat().st_size for path in where[0].parent.iterdir()) <= 3000
    with pytest.raises(DataError, match=r"shard_cache_mib leaves 500; raise it"):
        ShardCache(str(tmp_path / "other"), 500).local(files[0])


def test_pictures_of_several_stores_are_asked_for_at_once_from_each(tmp_path: Path) -> None:
    class Told(Reader):
        asked: ClassVar[list[int]] = []

        def read(self, pieces: list[tuple[DataFile, int, int]]) -> list[bytes | BrokenPictureError]:
            self.asked.append(len(pieces))
            return super().read(pieces)

    far = files_of(tmp_path, 4, 100)
    near = [replace(file, path=file.path.removeprefix("local://")) for file in far]
    mixed = [(file, 5, 2) for pair in zip(near, far, strict=True) for file in pair]
    reader = Told(ShardCache(str(tmp_path / "cache"), 0))
    assert reader.read(mixed) == [bytes([number]) * 2 for number in range(4) for _ in range(2)]
    assert reader.asked == [8, 4, 4]


def test_a_shard_that_another_process_makes_room_of_is_fetched_again_and_read(tmp_path: Path) -> None:
    class Crowded(ShardCache):
        """Somebody else needs the room between the look and the reading."""

        gone = 0

        def local(self, file: DataFile) -> str:
            path = super().local(file)
            if self.gone < 2:
                self.gone += 1
                os.unlink(path)
            return path

    (file,) = files_of(tmp_path, 1, 1000)
    cache = Crowded(str(tmp_path / "cache"), 3000)
    assert Reader(cache).read([(file, 10, 5)]) == [bytes(5)]
    assert cache.gone == 2


def test_a_shard_that_is_not_the_manifests_never_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    good = files_of(tmp_path, 1, 1000)[0]
    cache = ShardCache(str(tmp_path / "cache"), 10_000)
    with pytest.raises(DataError, match="not the file that its manifest means"):
        cache.local(DataFile(good.path, good.bytes, "0" * 64))
    assert [path.name for path in (tmp_path / "cache" / "shards").iterdir()] == [".lock"]


FETCH = """
import sys; from training.data.part import DataFile; from training.data.shard_cache import ShardCache
cache = ShardCache(sys.argv[1], 4_000_000)
for _ in range(40):
    for number in range(5):
        path = cache.local(DataFile(f"local://{sys.argv[2]}/{number}.tar", 1_000_000))
        try:
            data = open(path, "rb").read()
        except FileNotFoundError:
            continue  # thrown out by another in between
        assert data == bytes([number]) * 1_000_000, (number, len(data))
print("well")
"""


def test_processes_share_a_cache_and_one_that_is_killed_leaves_it_sound(tmp_path: Path) -> None:
    files_of(tmp_path, 5, 1_000_000)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", FETCH, str(tmp_path / "cache"), str(tmp_path)]
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    shards = tmp_path / "cache" / "shards"
    while not list(shards.glob("*")) and crowd[0].poll() is None:
        time.sleep(0.01)
    crowd[0].kill()
    # What a killed writer leaves behind, half a shard under a name that nobody waits for:
    (shards / ("f" * 32 + ".part")).write_bytes(b"half" * 1000)
    for process in crowd[1:]:
        assert process.communicate()[0] == "well\n"
        assert process.returncode == 0
    crowd[0].wait()
    assert not (shards / ("f" * 32 + ".part")).exists()
    assert sum(path.stat().st_size for path in shards.iterdir()) <= 4_000_000


def test_a_source_without_a_path_takes_the_dataset_of_the_run(folder: str) -> None:
    assert open_data(DataConfig(sources=(SourceConfig(),)), folder).id == Manifest.load(folder).id
