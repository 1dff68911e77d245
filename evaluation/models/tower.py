"""A checkpoint as scorers use it: unit embeddings of pixels and texts, loaded once per worker, run once per batch."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.models.directions import unit
from evaluation.models.encoder import Encoder, torch_threads
from evaluation.models.foreign import open_checkpoint
from evaluation.models.layers import EMBEDDING


class Tower:
    """The encoder of one checkpoint. Several scorers on the same pixels ask for the same embeddings: they are made once."""

    def __init__(self, folder: str, batch_size: int) -> None:
        self._encoder = Encoder(open_checkpoint(folder), batch_size)
        self._batch_size = batch_size
        self._seen: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None

    def pictures(self, pixels_BSS3: NDArray[np.uint8], threads: int) -> NDArray[np.float32]:
        """(B, D) of unit length. Batches are filled up to one size: a row's numbers depend on no neighbour's number."""
        if self._seen is None or self._seen[0] is not pixels_BSS3:
            missing = max(0, self._batch_size - len(pixels_BSS3))
            padded = np.concatenate([pixels_BSS3, np.zeros((missing, *pixels_BSS3.shape[1:]), np.uint8)])
            pixels_B3SS = np.ascontiguousarray(padded.transpose(0, 3, 1, 2))
            with torch_threads(threads):
                made = self._encoder.features(pixels_B3SS, (EMBEDDING,))[EMBEDDING]
            self._seen = (pixels_BSS3, unit(made[: len(pixels_BSS3)]))
        return self._seen[1]

    def texts(self, sentences: Sequence[str], threads: int) -> NDArray[np.float32]:
        """(B, D) of unit length."""
        with torch_threads(threads):
            return unit(self._encoder.texts(sentences))


@functools.lru_cache(maxsize=2)
def tower(folder: str, identity: str, batch_size: int) -> Tower:
    """This process's tower; `identity` is the checkpoint's id, so that a changed folder is loaded anew."""
    return Tower(folder, batch_size)
