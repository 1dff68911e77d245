"""One part of a picture list to feature files: threads decode the next batch while the model runs on this one.

A part's files are written whole under their names when all of its rows are there: a name that exists is complete.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.corruptions.variant import Variant
from evaluation.features.config import FeaturesConfig
from evaluation.features.pixels import picture_pixels, square_of
from evaluation.models.encoder import EMBEDDING, Encoder
from evaluation.pictures.pictures import Pictures
from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.ledger import Progress
from training.data.resize import Pixels


@dataclass(frozen=True)
class Wanted:
    """Features of one layer, of the pictures as they are or under a corruption."""

    layer: str = EMBEDDING
    variant: Variant | None = None


@dataclass(frozen=True)
class Part:
    """Rows of a picture list, and the file that each wanted feature of theirs goes to."""

    rows: range
    files: Mapping[Wanted, str]


@dataclass(frozen=True)
class Made:
    """What was done for a part: pictures decoded, and pictures that went through the model."""

    decoded: int
    encoded: int


def make_part(
    opener: Callable[[], Encoder],
    pictures: Pictures,
    seed: int,
    config: FeaturesConfig,
    progress: Progress,
    part: Part,
) -> Made:
    """Make and write the files of `part`. Raises DataError where a picture cannot be read or a feature is no number."""
    encoder = opener()
    variants = list(dict.fromkeys(want.variant for want in part.files))
    layers = {variant: [want.layer for want in part.files if want.variant == variant] for variant in variants}
    made: dict[Wanted, list[NDArray[np.float32]]] = {want: [] for want in part.files}
    work = _Squares(pictures, encoder.form.side, variants, seed, encoder)
    for batch, squares_VB3SS in work.batches(part.rows, config.decoders):
        for variant, pixels_B3SS in zip(variants, squares_VB3SS, strict=True):
            features = encoder.features(pixels_B3SS, layers[variant])
            for layer in layers[variant]:
                made[Wanted(layer, variant)].append(features[layer])
        progress(batch.stop, pictures.count, pictures.name)
    for want, batches in made.items():
        _write(part.files[want], np.concatenate(batches), config, pictures.name)
    return Made(len(part.rows), len(part.rows) * len(variants))


def _write(path: str, rows: NDArray[np.float32], config: FeaturesConfig, name: str) -> None:
    if not np.isfinite(rows).all():
        wrong = int(np.flatnonzero(~np.isfinite(rows).all(axis=tuple(range(1, rows.ndim))))[0])
        raise DataError(f"{name}: the model gives NaN for picture {wrong}; its weights or its precision are broken")
    file = io.BytesIO()
    np.save(file, rows.astype(config.precision), allow_pickle=False)
    storage.write_bytes(path, file.getvalue())


class _Squares:
    """Batches of squares as the model wants them, one array per variant."""

    def __init__(
        self, pictures: Pictures, side: int, variants: Sequence[Variant | None], seed: int, encoder: Encoder
    ) -> None:
        self._pictures, self._side, self._variants, self._seed = pictures, side, variants, seed
        self._encoder = encoder

    def batches(self, rows: range, threads: int) -> Iterator[tuple[range, NDArray[np.uint8]]]:
        """(rows, (V, B, 3, S, S) uint8), one batch ahead of whoever takes them."""
        size = self._encoder.batch_size
        starts = range(rows.start, rows.stop, size)
        cut = [range(start, min(start + size, rows.stop)) for start in starts]
        with ThreadPoolExecutor(threads, "decode") as pool:
            waiting: list[tuple[range, NDArray[np.uint8], list[Future[None]]]] = []
            try:
                for batch in cut:
                    waiting.append((batch, *self._begin(pool, batch)))
                    if len(waiting) > 1:
                        yield self._finished(waiting.pop(0))
                while waiting:
                    yield self._finished(waiting.pop(0))
            finally:
                for _, _, futures in waiting:
                    for future in futures:
                        future.cancel()

    def _begin(self, pool: ThreadPoolExecutor, batch: range) -> tuple[NDArray[np.uint8], list[Future[None]]]:
        squares = np.empty((len(self._variants), len(batch), 3, self._side, self._side), np.uint8)
        return squares, [pool.submit(self._fill, index, squares[:, row]) for row, index in enumerate(batch)]

    @staticmethod
    def _finished(
        waiting: tuple[range, NDArray[np.uint8], list[Future[None]]],
    ) -> tuple[range, NDArray[np.uint8]]:
        batch, squares, futures = waiting
        for future in futures:
            future.result()
        return batch, squares

    def _fill(self, index: int, out_V3SS: Pixels) -> None:
        clean = picture_pixels(self._pictures, index)
        for place, variant in enumerate(self._variants):
            pixels = clean
            if variant is not None:
                pixels = variant.applied(clean, index, self._seed)
            square_of(pixels, self._encoder.form, out_V3SS[place])
