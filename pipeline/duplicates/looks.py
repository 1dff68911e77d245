"""Whether two pictures with near hashes look the same: by their 256-bit pHashes and their 8 x 8 colour thumbnails.

A pHash keeps shape and forgets colour and lighting. The 256-bit one, more of the same, says whether the shapes agree. The
thumbnails say whether the colours do, with what a copy on the web may have gone through fitted away (`fit` in loops.py):

    lighting   luminances Y need not be equal, but linear in each other: correlation at least 0.9, contrast at most 1.45 times.
               Where there is no contrast to compare (below 4 levels) they differ by at most 6 levels instead.
    colours    K, each channel less Y, loses what brightness and offset do. With the contrast's factor, and at most 1.25 on
               either side of it for paler or stronger colours, K may differ by half its size, at least 4 levels, at most
               `colour_distance`. A hue turned by 30 degrees is half its size away, another colour more.
    grey       a picture without colours (3 levels) is a copy of one with colours where luminances differ by at most 6
               levels: a grey copy keeps them, another colour of the same thing seldom has the same.
    edges      all this for the 64 cells, or without the 8 of the top, bottom, left or right edge: a bar lies there, or a mark.

All levels are root mean squares of 0..255. Chosen on 500 photographs and textbook figures with 28 changes, and on the demo
web's digits and scenes drawn in every pair of colours; infra/benchmarks/near_duplicates.py measures on others.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.duplicates.config import DeduplicateConfig
from pipeline.duplicates.loops import fit, sums_of
from pipeline.pictures.descriptors import THUMBNAIL_BYTES, thumbnail_distance, thumbnails

LOOKS = ("phash", "thumbnail8", "phash256")
BARE_RADIUS = 3
"""Bits by which pictures may differ that have nothing but a 64-bit pHash in common: one in 10^12 chance pairs is this near."""


@dataclass(frozen=True)
class Looks:
    """What verifies a pair of near hashes: N colour thumbnails and 256-bit hashes, and which rows have them."""

    thumbnails: np.ndarray
    """(N, 192) uint8."""
    has_thumbnail: np.ndarray
    longer: np.ndarray
    """(N, 4) uint64."""
    has_longer: np.ndarray
    fitted: bool
    """Lighting is fitted away where both rows have a longer hash; else thumbnails are compared as they are."""
    largest_squares: float
    """Largest sum of squared differences of two thumbnails as they are."""
    colour_distance: float
    longer_radius: int
    bare_radius: int
    """Largest Hamming distance of the 64-bit hashes where a pair has nothing else in common."""

    def take(self, rows: np.ndarray) -> "Looks":
        return Looks(
            self.thumbnails[rows], self.has_thumbnail[rows], self.longer[rows], self.has_longer[rows], *self.limits
        )

    @property
    def limits(self) -> tuple[bool, float, float, int, int]:
        return self.fitted, self.largest_squares, self.colour_distance, self.longer_radius, self.bare_radius

    @staticmethod
    def nothing() -> "Looks":
        no = np.zeros(0, bool)
        return Looks(np.zeros((0, 192), np.uint8), no, np.zeros((0, 4), np.uint64), no, False, 0.0, 0.0, 0, 0)


def looks_of(config: DeduplicateConfig, facts: pa.Table) -> Looks:
    """The verifying descriptors of some rows."""
    count = facts.num_rows

    def table(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
        if name not in facts.column_names:
            return np.zeros((count, size), np.uint8), np.zeros(count, bool)
        values = facts.column(name).to_pylist()
        there = np.array([value is not None and len(value) == size for value in values], dtype=bool)
        whole = b"".join(value if ok else bytes(size) for value, ok in zip(values, there, strict=True))
        return np.frombuffer(whole, np.uint8).reshape(count, size), there

    small, has_small = table("thumbnail8", THUMBNAIL_BYTES)
    longer, has_longer = table("phash256", 32)
    farthest = 255.0 if config.thumbnails == "ignored" else config.thumbnail_distance
    return Looks(
        small,
        has_small,
        longer.reshape(count, 4, 8).view(np.uint64)[:, :, 0],
        has_longer,
        config.thumbnails == "fitted",
        farthest**2 * THUMBNAIL_BYTES,
        config.colour_distance,
        config.longer_radius,
        min(BARE_RADIUS, config.radius),
    )


def say(worse: pa.Table, better: pa.Table) -> list[str]:
    """The distances of each pair that falls from the one that stays; they may be linked through others, so be larger."""
    columns = ["phash", *(name for name in LOOKS[1:] if name in worse.column_names)]
    pairs = [zip(worse.column(name).to_pylist(), better.column(name).to_pylist(), strict=True) for name in columns]
    return [seen(dict(zip(columns, values, strict=True))) for values in zip(*pairs, strict=True)]


def seen(pair: dict[str, tuple[object, object]]) -> str:
    """Evidence in words from descriptor -> (of the one, of the other)."""
    words = []
    for name, (left, right) in pair.items():
        if left is None or right is None:
            continue
        if isinstance(left, bytes) and isinstance(right, bytes) and name == "thumbnail8":
            two = thumbnails([left, right]).copy()  # writable as those in the loops, which are compiled for that
            _, contrast, colours = fit(64, sums_of(*two)[0], 255.0)
            words.append(f"thumbnail distance {float(thumbnail_distance(*two)):.2f}")
            words.append(f"colours {colours:.2f} at {contrast:.2f} times the contrast")
        elif isinstance(left, bytes) and isinstance(right, bytes):
            bits = (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()
            words.append(f"{bits} of 256")
        elif isinstance(left, int) and isinstance(right, int):
            words.append(f"{(left ^ right).bit_count()} of 64 hash bits")
    return ", ".join(words)
