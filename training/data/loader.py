"""The loader: batches of pixels and token ids from a Manifest's shards, in an order that depends on no machine.

Pictures are read by seeking in the tar at the index's offset, decoded once and kept in memory while they fit into the
configured budget, cropped and resized to the model's size in a thread that works ahead of the training step.
"""

import io
import queue
import threading
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from pipeline import storage
from pipeline.datasets import shards
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import Manifest
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.order import Integers, SampleStream, picture_draws
from training.data.transforms import disturb, random_square, square_pixels
from training.tokenizer import Tokenizer

BATCHES_AHEAD = 2


def check(config: TrainConfig, manifest: Manifest) -> None:
    """Raises before any work starts, in one line, what could only fail later."""
    if manifest.rows == 0:
        raise DataError("the dataset is empty: no pair passed the filters; loosen curate.select or add pages to crawl")
    if config.global_batch_size > manifest.rows:
        raise DataError(
            f"train.global_batch_size is {config.global_batch_size:,} and the dataset has {manifest.rows:,} pairs;"
            f" set it to {manifest.rows:,} or less"
        )
    steps = config.total_steps(manifest.rows)
    if config.warmup_steps >= steps:
        raise ConfigError(
            f"train.warmup_steps is {config.warmup_steps:,} and the run has {steps:,} steps; choose fewer,"
            " or more train.steps"
        )


class Pictures:
    """Captions and decoded pictures of a dataset, by position 0 .. rows-1 in the manifest's order."""

    def __init__(self, folder: str, manifest: Manifest, cache_bytes: int) -> None:
        columns = ["caption", "image_offset", "image_bytes"]
        index = pa.concat_tables([shards.read_index(folder, shard, columns) for shard in manifest.shards])
        self._captions = index.column("caption").combine_chunks()
        self._offsets = index.column("image_offset").to_numpy()
        self._lengths = index.column("image_bytes").to_numpy()
        self._tars = [storage.join(folder, shard.tar) for shard in manifest.shards]
        self._ends = np.cumsum([shard.rows for shard in manifest.shards])
        self._decoded: dict[int, Image.Image] = {}
        self._room = cache_bytes

    def captions(self, samples: Integers) -> list[str]:
        return [text or "" for text in self._captions.take(pa.array(samples)).to_pylist()]

    def all_captions(self) -> Iterator[str]:
        for text in self._captions:
            yield text.as_py() or ""

    def picture(self, sample: int) -> Image.Image:
        """RGB, at its stored size. Raises DataError naming shard and offset when its bytes are no picture."""
        if sample in self._decoded:
            return self._decoded[sample]
        tar = self._tars[int(np.searchsorted(self._ends, sample, side="right"))]
        offset = int(self._offsets[sample])
        try:
            with Image.open(io.BytesIO(shards.read_image(tar, offset, int(self._lengths[sample])))) as encoded:
                picture = encoded.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"{tar}: the picture at byte {offset:,} cannot be decoded; the shard has changed since it was"
                " written: run the recipe again"
            ) from error
        cost = picture.width * picture.height * 4  # PIL keeps RGB in four bytes per pixel
        if cost <= self._room:
            self._room -= cost
            self._decoded[sample] = picture
        return picture


class Loader:
    """Endless batches for one rank, from any place of the sample stream."""

    def __init__(
        self,
        config: TrainConfig,
        pictures: Pictures,
        stream: SampleStream,
        tokenizer: Tokenizer,
        image_size: int,
        rank: int,
        world_size: int,
    ) -> None:
        if config.global_batch_size % world_size:
            raise ConfigError(
                f"train.global_batch_size {config.global_batch_size:,} cannot be shared by {world_size} ranks;"
                " choose a multiple"
            )
        self._config = config
        self._pictures = pictures
        self._stream = stream
        self._tokenizer = tokenizer
        self._size = image_size
        self._rows = config.global_batch_size // world_size
        self._first = rank * self._rows
        changes = (config.data.max_rotation_degrees, config.data.max_stretch, config.data.max_brightness_change)
        self._disturbs = any(changes)

    def batch(self, samples_seen: int) -> Batch:
        """This rank's part of the global batch that starts at place `samples_seen`."""
        samples, epochs = self._stream.at(samples_seen + self._first, self._rows)
        draws = picture_draws(self._config.seed, samples, epochs, 7)
        pixels = np.empty((self._rows, self._size, self._size, 3), np.uint8)
        for row, sample in enumerate(samples.tolist()):
            picture = self._pictures.picture(sample)
            box = random_square(*picture.size, self._config.data.min_crop_side_fraction, *draws[row, :3].tolist())
            pixels[row] = square_pixels(picture, box, self._size)
        pixels_B3SS = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        if self._disturbs:
            pixels_B3SS = disturb(pixels_B3SS, torch.from_numpy(draws[:, 3:]), self._config.data)
        tokens = self._tokenizer.encode(self._pictures.captions(samples))
        return Batch(pixels_B3SS, tokens, None, tuple(samples.tolist()))

    def batches(self, samples_seen: int, steps: int) -> Iterator[Batch]:
        """`steps` batches from place `samples_seen` on, prepared in a thread while the caller trains."""
        ready: queue.Queue[Batch | BaseException] = queue.Queue(BATCHES_AHEAD)
        stop = threading.Event()

        def put(value: Batch | BaseException) -> None:
            while not stop.is_set():
                try:
                    ready.put(value, timeout=0.1)
                    return
                except queue.Full:
                    continue

        def work() -> None:
            try:
                for step in range(steps):
                    put(self.batch(samples_seen + step * self._config.global_batch_size))
                    if stop.is_set():
                        return
            except BaseException as error:  # whatever it is, it is raised in the training thread
                put(error)

        worker = threading.Thread(target=work, name="loader", daemon=True)
        worker.start()
        try:
            for _ in range(steps):
                value = ready.get()
                if isinstance(value, BaseException):
                    raise value
                yield value
        finally:
            stop.set()
            worker.join()
