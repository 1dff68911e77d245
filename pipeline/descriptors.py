"""What a picture looks like in a few bytes: the perceptual hash that finds near duplicates, the thumbnail that verifies.

pHash       64 bits: signs of the 8 x 8 lowest DCT coefficients of a 32 x 32 grey picture against their median
            (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2)
pHash 256   the same with the 16 x 16 lowest coefficients of 64 x 64: verifies what the 64 bits found
thumbnail8  192 bytes: the 8 x 8 RGB means
"""

import numpy as np
from PIL import Image
from scipy.fft import dctn

THUMBNAIL_BYTES = 192


def perceptual_hash(picture: Image.Image) -> int:
    """64-bit pHash of an RGB or grey picture."""
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    low = dctn(grey, norm="ortho")[:8, :8].ravel()
    # The median leaves the constant term out: it holds the brightness, thousands of times the rest.
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def perceptual_hash256(picture: Image.Image) -> bytes:
    """256-bit pHash of an RGB or grey picture, 32 bytes."""
    grey = np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BOX), dtype=np.float64)
    low = dctn(grey, norm="ortho")[:16, :16].ravel()
    return np.packbits(low > np.median(low[1:])).tobytes()


def thumbnail8(picture: Image.Image) -> bytes:
    """8 x 8 x 3 mean colours, row by row."""
    return picture.convert("RGB").resize((8, 8), Image.Resampling.BOX).tobytes()


def hamming(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Number of differing bits of uint64 arrays, broadcast."""
    different = np.bitwise_xor(left, right)
    return np.unpackbits(different[..., None].view(np.uint8), axis=-1).sum(axis=-1)


def thumbnail_distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Root mean square difference (0..255) of thumbnails as uint8 arrays (..., 192), broadcast."""
    difference = left.astype(np.float32) - right.astype(np.float32)
    return np.sqrt((difference**2).mean(axis=-1))


def thumbnails(values: list[bytes]) -> np.ndarray:
    """(N, 192) uint8 from N thumbnails."""
    return np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(values), THUMBNAIL_BYTES)
