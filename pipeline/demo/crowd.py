"""The rule of the demo web that no two pictures look alike unless one was planted as a copy of the other.

"Alike" is what deduplication goes by: the 64-bit pHash and the 8x8 colour thumbnail of pipeline/descriptors.py. A picture
that comes too near an earlier one, in either of them, is drawn again with another seed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.descriptors import THUMBNAIL_BYTES, hamming, perceptual_hash, thumbnail8


class Distances(NamedTuple):
    """From one picture to each of N others: thumbnail RMS 0..255 (N,) and pHash bits 0..64 (N,)."""

    rms: NDArray[np.float32]
    bits: NDArray[np.int64]


class Crowd:
    """Pictures already on the web or in an evaluation set; newcomers have to differ from all of them."""

    def __init__(self, minimum_rms: float, minimum_bits: int) -> None:
        self.minimum_rms = minimum_rms
        self.minimum_bits = minimum_bits
        self._thumbnails = np.zeros((1024, THUMBNAIL_BYTES), dtype=np.float32)
        self._hashes = np.zeros(1024, dtype=np.uint64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def distances(self, image: Image.Image) -> Distances:
        """To every member, in the order they were added."""
        look = np.frombuffer(thumbnail8(image), dtype=np.uint8).astype(np.float32)
        delta = self._thumbnails[: self._count] - look
        bits = hamming(self._hashes[: self._count], np.array([perceptual_hash(image)], dtype=np.uint64))
        return Distances(np.sqrt(np.einsum("nd,nd->n", delta, delta) / THUMBNAIL_BYTES), bits.astype(np.int64))

    def stands_out(self, image: Image.Image, but: int | None = None) -> bool:
        """Whether `image` differs enough from every member, member `but` excepted."""
        far = self.distances(image)
        alike = (far.rms < self.minimum_rms) | (far.bits < self.minimum_bits)
        if but is not None:
            alike[but] = False
        return not bool(alike.any())

    def add(self, image: Image.Image) -> int:
        """Take `image` in whatever it looks like; returns its number."""
        if self._count == len(self._hashes):
            self._thumbnails = np.concatenate([self._thumbnails, np.zeros_like(self._thumbnails)])
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._thumbnails[self._count] = np.frombuffer(thumbnail8(image), dtype=np.uint8)
        self._hashes[self._count] = perceptual_hash(image)
        self._count += 1
        return self._count - 1
