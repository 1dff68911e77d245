"""Pictures: the pixels of the samples at some places of the stream. All that a loader's thread or process does.

Nothing here depends on who asks: a picture's pixels are a function of its bytes, the config, seed, epoch and sample. A picture
that cannot be read is replaced by the one that stands `stride` places later, a global batch further: batch sizes hold, no
sample comes twice in a batch, and every rank of every world size replaces alike.
"""

import math
import os
from dataclasses import dataclass, replace

import numpy as np

from pipeline import storage
from pipeline.errors import DataError
from pipeline.streams import read_ranges
from training.data.augment import Augmentation
from training.data.decode import BrokenPictureError, decode, plain_jpeg_size
from training.data.order import Integers, Stream, picture_draws
from training.data.part import DataFile
from training.data.resize import Pixels, cut
from training.data.shard_cache import ShardCache
from training.data.sources import Data
from training.tokens.tokenizer import Tokenizer

MOST_REPLACEMENTS = 100


@dataclass(frozen=True)
class Filled:
    """What stands in the rows that were asked for; `broken` are (file, reason) of each picture that was replaced."""

    samples: list[int]
    epochs: list[int]
    broken: list[tuple[str, str]]
    ids: list[list[int]] | None = None
    """Of each row's caption, where there are captions and a tokenizer."""


class Pictures:
    """Fills arrays with pictures of one size. Threads may share it."""

    def __init__(
        self,
        data: Data,
        stream: Stream,
        seed: int,
        stride: int,
        size: int,
        cache_bytes: int,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self._seed, self._tokenizer = seed, tokenizer if data.has_captions else None
        self._data, self._stream, self._stride, self._size = data, stream, stride, size
        self._augmentation = Augmentation(data.config, seed)
        self._fast = data.config.decode == "fast"
        self._reader = Reader(data.cache)
        self._decoded: dict[tuple[int, int], Pixels] = {}
        self._room = cache_bytes

    def fill(self, start: int, out: Pixels) -> Filled:
        """Pictures of the places start .. start + N - 1 into `out` (N, 3, S, S). Raises DataError where none is left to take."""
        samples, epochs = self._stream.at(start, len(out))
        draws = self._augmentation.draws(samples, epochs).tolist()
        encoded = self._read(samples)
        filled = Filled(samples.tolist(), epochs.tolist(), [])
        for row, sample in enumerate(filled.samples):
            try:
                self._make(sample, encoded[row], draws[row], out[row])
            except BrokenPictureError as error:
                filled.broken.append((self._path(sample), str(error)))
                filled.samples[row], filled.epochs[row] = self._replace(start + row, out[row], filled.broken)
        return filled if self._tokenizer is None else replace(filled, ids=self._ids(self._tokenizer, filled))

    def _ids(self, tokenizer: Tokenizer, filled: Filled) -> list[list[int]]:
        samples, epochs = np.array(filled.samples), np.array(filled.epochs)
        draws = picture_draws(self._seed, samples, epochs, 1, "caption")[:, 0].tolist()
        places = self._data.places(samples)
        return tokenizer.ids([at.part.caption(at.row, draw) for at, draw in zip(places, draws, strict=True)])

    def _replace(self, place: int, out_3SS: Pixels, broken: list[tuple[str, str]]) -> tuple[int, int]:
        """Sample and epoch of what was taken in its place."""
        for turn in range(1, MOST_REPLACEMENTS + 1):
            samples, epochs = self._stream.at(place + turn * self._stride, 1)
            sample = int(samples[0])
            try:
                self._make(
                    sample, self._read(samples)[0], self._augmentation.draws(samples, epochs)[0].tolist(), out_3SS
                )
            except BrokenPictureError as error:
                broken.append((self._path(sample), str(error)))
            else:
                return sample, int(epochs[0])
        raise DataError(f"{broken[-1][0]}: {broken[-1][1]}; {MOST_REPLACEMENTS} pictures in turn cannot be read")

    def _path(self, sample: int) -> str:
        place = self._data.places(np.array([sample]))[0]
        return place.part.file(place.row).path

    def _read(self, samples: Integers) -> list[bytes | BrokenPictureError]:
        """Encoded pictures; empty for those that are decoded already."""
        wanted = [row for row, sample in enumerate(samples.tolist()) if (sample, 1) not in self._decoded or self._fast]
        places = self._data.places(samples[wanted])
        found: list[bytes | BrokenPictureError] = [b""] * len(samples)
        pieces = [(at.part.file(at.row), int(at.part.offsets[at.row]), int(at.part.lengths[at.row])) for at in places]
        for row, data in zip(wanted, self._reader.read(pieces), strict=True):
            found[row] = data
        return found

    def _make(self, sample: int, data: bytes | BrokenPictureError, draws: list[float], out_3SS: Pixels) -> None:
        pixels = self._decoded.get((sample, 1)) if not self._fast else None
        if isinstance(data, BrokenPictureError):
            raise data
        size = plain_jpeg_size(data) if pixels is None and self._fast else None
        if size is not None:
            self._make_fast(sample, data, size, draws, out_3SS)
            return
        if pixels is None:
            pixels = self._kept(sample, 1, decode(data))
        height, width = pixels.shape[:2]
        cut(pixels, self._augmentation.box(width, height, draws), self._size, out_3SS)
        self._augmentation.change(out_3SS, draws)

    def _make_fast(self, sample: int, data: bytes, size: tuple[int, int], draws: list[float], out_3SS: Pixels) -> None:
        """A JPEG decoded at the smallest of 1, 1/2, 1/4, 1/8 of its size at which the box still has the model's pixels."""
        width, height = size
        box = self._augmentation.box(width, height, draws)
        sides = min(box[2] - box[0], box[3] - box[1])
        factor = next((each for each in (8, 4, 2) if sides >= each * self._size), 1)
        pixels = self._decoded.get((sample, factor))
        if pixels is None:
            pixels = self._kept(sample, factor, decode(data, factor))
        if (pixels.shape[1], pixels.shape[0]) == size:  # Pillow had to do it, and knows no reduced size
            factor = 1
        left, top, right, bottom = (edge / factor for edge in box)
        cut(pixels, (left, top, right, bottom), self._size, out_3SS)
        self._augmentation.change(out_3SS, draws)

    def _kept(self, sample: int, factor: int, pixels: Pixels) -> Pixels:
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._decoded[sample, factor] = pixels
        return pixels

    def picture(self, sample: int) -> Pixels:
        """(H, W, 3) RGB of one sample, as it is stored. Raises DataError naming the file when its bytes are no picture."""
        try:
            data = self._read(np.array([sample]))[0]
            if isinstance(data, BrokenPictureError):
                raise data
            found = self._decoded.get((sample, 1))
            return found if found is not None else self._kept(sample, 1, decode(data))
        except BrokenPictureError as error:
            raise DataError(f"{self._path(sample)}: a picture cannot be read: {error}") from error


class Reader:
    """Bytes at places of files: local ones by pread, remote ones from the cache's copies or, where it keeps none, by ranges."""

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache

    def read(self, pieces: list[tuple[DataFile, int, int]]) -> list[bytes | BrokenPictureError]:
        """What cannot be read is an error in its place."""
        if any(file.damage for file, _, _ in pieces):
            return [self._one(*p) if p[0].damage else self.read([p])[0] for p in pieces]
        if pieces and not self._cache.keeps and not all(storage.is_local(file.path) for file, _, _ in pieces):
            stores = [file.path.partition("://")[0] if "://" in file.path else "" for file, _, _ in pieces]
            if len(set(stores)) > 1:
                return self._by_store(pieces, stores)
            try:
                found = read_ranges(
                    [f.path for f, _, _ in pieces], [at for _, at, _ in pieces], [n for *_, n in pieces]
                )
                return [_whole(data, piece[2]) for data, piece in zip(found, pieces, strict=True)]
            except (DataError, OSError):
                if len(pieces) > 1:  # one of them: find out which
                    return [each for piece in pieces for each in self.read([piece])]
                return [BrokenPictureError("the store does not give it")]
        return [self._one(*piece) for piece in pieces]

    def _by_store(self, pieces: list[tuple[DataFile, int, int]], stores: list[str]) -> list[bytes | BrokenPictureError]:
        """Sources that lie in several stores: what each of them has at once."""
        found: list[bytes | BrokenPictureError] = [b""] * len(pieces)
        for store in dict.fromkeys(stores):
            rows = [row for row, each in enumerate(stores) if each == store]
            for row, data in zip(rows, self.read([pieces[row] for row in rows]), strict=True):
                found[row] = data
        return found

    def _one(self, file: DataFile, offset: int, length: int) -> bytes | BrokenPictureError:
        if file.damage:
            return BrokenPictureError(file.damage)
        try:
            descriptor = self._cache.descriptor(file)
        except (DataError, OSError) as error:
            return BrokenPictureError(str(getattr(error, "strerror", None) or error))
        try:
            return _whole(os.pread(descriptor, length, offset), length)
        except OSError as error:
            return BrokenPictureError(error.strerror or "unreadable")
        finally:
            os.close(descriptor)


def _whole(data: bytes, length: int) -> bytes | BrokenPictureError:
    return data if len(data) == length else BrokenPictureError("the file ends before the picture does")


def pictures(
    data: Data,
    seed: int,
    stride: int,
    size: int,
    tokenizer: Tokenizer | None = None,
    share_of_cache: float = 1.0,
) -> Pictures:
    """Pictures as the config of `data` says."""
    room = math.floor(data.config.decoded_cache_mib * 2**20 * share_of_cache)
    return Pictures(data, data.stream(seed), seed, stride, size, room, tokenizer)
