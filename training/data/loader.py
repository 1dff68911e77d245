"""The loader: batches for one rank from any place of the sample stream, in an order that depends on no machine.

Pictures are made by threads or processes (training/data/crew.py) some batches ahead; a thread puts captions as tokens and
labels beside them. Its whole state is one integer, samples seen.
"""

import math
import queue
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.crew import Making, Processes, Threads, crew, empty_rows
from training.data.labels import as_tensor
from training.data.order import picture_draws
from training.data.pictures import Filled, pictures
from training.data.shards_ahead import ShardsAhead
from training.data.sources import Data
from training.data.transforms import disturb
from training.tokens.tokenizer import Tokenizer


class Loader:
    """Endless batches for one rank. Tokens are made where there is a tokenizer, labels where the data has them."""

    def __init__(
        self,
        config: TrainConfig,
        data: Data,
        tokenizer: Tokenizer | None,
        image_size: int,
        rank: int,
        world_size: int,
    ) -> None:
        if config.global_batch_size % world_size:
            raise ConfigError(
                f"train.global_batch_size {config.global_batch_size:,} cannot be shared by {world_size} ranks;"
                " choose a multiple"
            )
        self._config, self._data, self._tokenizer, self._size = config, data, tokenizer, image_size
        self._pictures = pictures(data, config.seed, config.global_batch_size, image_size, tokenizer)
        self._rows = config.global_batch_size // world_size
        self._first = rank * self._rows
        changes = (config.data.max_rotation_degrees, config.data.max_stretch, config.data.max_brightness_change)
        self._disturbs = any(changes)
        self._ahead = ShardsAhead(data, data.stream(config.seed))
        self._fair_share = data.rows / world_size
        gone = sum(lost.samples for lost in data.lost if not lost.listed)
        self._allowed_share = max(0.0, config.data.max_broken_share - gone / max(1, data.whole_rows))
        self._served = 0
        self.broken: Counter[str] = Counter()
        """Pictures that could not be read and were replaced, by file."""

    @property
    def broken_samples(self) -> int:
        return sum(self.broken.values())

    def measured(self) -> dict[str, float]:
        """For the record of a step, where there is something to say."""
        return {"broken_samples": float(self.broken_samples)} if self.broken else {}

    def batch(self, samples_seen: int) -> Batch:
        """This rank's part of the global batch that starts at place `samples_seen`, made here and now."""
        rows = empty_rows(self._rows, self._size)
        return self._complete(rows, self._pictures.fill(samples_seen + self._first, rows.numpy()))

    def _complete(self, pixels_B3SS: Tensor, filled: Filled) -> Batch:
        self._count(filled)
        samples, epochs = np.array(filled.samples), np.array(filled.epochs)
        if self._disturbs:
            draws = torch.from_numpy(picture_draws(self._config.seed, samples, epochs, 7)[:, 3:])
            pixels_B3SS = disturb(pixels_B3SS, draws, self._config.data)
        tokens = labels = None
        if self._tokenizer is not None and filled.ids is not None:
            tokens = _pinned(self._tokenizer.rows(filled.ids))
        if self._data.classes:
            values = self._data.label_values(self._data.places(samples))
            labels = _pinned(as_tensor(values, self._data.classes, self._data.multi_label))
        return Batch(pixels_B3SS, tokens, labels, tuple(filled.samples))

    def _count(self, filled: Filled) -> None:
        """Raises DataError when more pictures are broken than the config allows."""
        self._served += len(filled.samples)
        self.broken.update(path for path, _ in filled.broken)
        allowed = self._config.data.max_broken_share
        # An epoch that has begun counts whole: broken pictures lie together in their shards.
        passes = max(1, math.ceil(self._served / self._fair_share))
        if filled.broken and self.broken_samples > self._allowed_share * passes * self._fair_share:
            worst, count = self.broken.most_common(1)[0]
            reason = next((why for path, why in reversed(filled.broken) if path == worst), filled.broken[-1][1])
            raise DataError(
                f"{worst}: {count:,} of its pictures cannot be read ({reason}); {self.broken_samples:,} broken of"
                f" {self._served:,} is past train.data.max_broken_share {allowed:g}: make the shard again, or raise that"
            )

    def batches(self, samples_seen: int, steps: int) -> Generator[Batch, None, None]:
        """`steps` batches from place `samples_seen` on, made ahead while the caller trains."""
        ready: queue.Queue[Batch | BaseException] = queue.Queue(self._config.data.batches_ahead)
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
                for batch in self._made(samples_seen + self._first, steps):
                    put(batch)
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

    def _made(self, start: int, steps: int) -> Iterator[Batch]:
        """Batches in order; those after it are being made while one is completed."""
        stride, ahead = self._config.global_batch_size, self._config.data.batches_ahead
        job: dict[str, Any] = {"seed": self._config.seed, "stride": stride, "size": self._size}
        job["needs"] = sorted(self._data.needs)
        job["tokenizer"] = self._tokenizer.to_bytes().decode() if self._tokenizer is not None else ""
        with crew(self._data, self._pictures, job, self._rows, ahead) as workers, self._ahead:
            pending: deque[Making] = deque()
            for step in range(steps):
                while len(pending) < min(ahead, steps - step):
                    self._begin(workers, pending, start + (step + len(pending)) * stride)
                yield self._complete(*pending.popleft().wait())

    def _begin(self, workers: Threads | Processes, pending: deque[Making], place: int) -> None:
        self._ahead.look(place)
        pending.append(workers.begin(place, self._rows))


def _pinned(values: Tensor) -> Tensor:
    return values.pin_memory() if torch.cuda.is_available() else values
