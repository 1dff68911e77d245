"""The rule of the demo web that no two pictures look alike unless one was planted as a copy of the other.

"Alike" is what deduplication goes by: the 64-bit pHash and the 8x8 colour thumbnail of pipeline/pictures/descriptors.py, both near.
A picture that comes too near an earlier one is drawn again with another seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.pictures.descriptors import THUMBNAIL_BYTES, perceptual_hash, thumbnail8

_BITS_IN = np.array([bin(word).count("1") for word in range(1 << 16)], dtype=np.uint8)


@dataclass(frozen=True)
class Look:
    """How a picture looks: its pHash as (4,) uint16, its thumbnail as (192,) float32."""

    phash: NDArray[np.uint16]
    thumbnail: NDArray[np.float32]

    @staticmethod
    def of(image: Image.Image) -> "Look":
        thumbnail = np.frombuffer(thumbnail8(image), dtype=np.uint8).astype(np.float32)
        phash = np.array([perceptual_hash(image)], dtype=np.uint64).view(np.uint16)
        return Look(phash, thumbnail)


class Crowd:
    """Pictures already on the web or in an evaluation set; newcomers have to differ from all of them."""

    def __init__(self, capacity: int, minimum_rms: float, minimum_bits: int) -> None:
        self.minimum_rms = minimum_rms
        self.minimum_bits = minimum_bits
        self._phashes = np.zeros((capacity, 4), dtype=np.uint16)
        self._thumbnails = np.zeros((capacity, THUMBNAIL_BYTES), dtype=np.float32)
        self._count = 0

    def distance(self, look: Look, member: int) -> tuple[float, int]:
        """(thumbnail RMS 0..255, pHash bits 0..64) to one member."""
        delta = self._thumbnails[member] - look.thumbnail
        return float(np.sqrt(np.mean(delta * delta))), int(_BITS_IN[self._phashes[member] ^ look.phash].sum())

    def stands_out(self, look: Look, but: int = -1) -> bool:
        """Whether every member, `but` excepted, differs enough from `look` in one of the descriptors.

        Deduplication asks for both to be near, so one that is far is enough for it to keep two pictures apart.
        """
        bits = _BITS_IN[self._phashes[: self._count] ^ look.phash].sum(axis=1)
        alike = np.flatnonzero(bits < self.minimum_bits)
        delta = self._thumbnails[alike[alike != but]] - look.thumbnail
        return not bool(((delta * delta).mean(axis=1) < self.minimum_rms**2).any())

    def add(self, look: Look) -> int:
        """Take `look` in whatever it is like; returns its number."""
        self._phashes[self._count] = look.phash
        self._thumbnails[self._count] = look.thumbnail
        self._count += 1
        return self._count - 1
