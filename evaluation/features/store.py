"""Features of pictures, made once and kept: every protocol is a function of them.

A feature file is named by a hash of all that decides its content: checkpoint, code of model and preprocessing, picture
list, corruption, layer, part. So a changed anything is another file, a stale hit cannot happen, and any number of runs
may share one folder. Parts of PART_PICTURES rows are written whole, so an interrupted run goes on at the next part.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.corruptions.corruptions import corrupt
from evaluation.corruptions.variants import Variant
from evaluation.models.encoder import EMBEDDING, Encoder
from evaluation.pictures.pictures import Pictures
from pipeline import storage
from pipeline.code_version import code_version
from pipeline.execution.ledger import Progress, silent

PART_PICTURES = 4096


@dataclass(frozen=True)
class Wanted:
    """Features of one layer, of the pictures as they are or under a corruption."""

    layer: str = EMBEDDING
    variant: Variant | None = None


class FeatureStore:
    """Feature files of one checkpoint below `folder`. `decoded` counts pictures read, `encoded` those that went forward."""

    def __init__(self, folder: str, encoder: Encoder, seed: int) -> None:
        self.folder = folder
        self.decoded = 0
        self.encoded = 0
        self._encoder = encoder
        self._seed = seed
        self._fixed = {
            "checkpoint": encoder.checkpoint_id,
            # Weights alone do not decide a feature: the code that runs them and prepares the pixels does too.
            "code": [code_version("training.saving.checkpoint"), code_version("training.data.transforms")],
            "corruptions": code_version("evaluation.corruptions.corruptions"),
        }

    def get(
        self, pictures: Pictures, wanted: Sequence[Wanted], progress: Progress = silent
    ) -> dict[Wanted, NDArray[np.float32]]:
        """The wanted features, each of shape (pictures.count, width); what is missing is made in one pass."""
        parts = [
            range(start, min(start + PART_PICTURES, pictures.count))
            for start in range(0, pictures.count, PART_PICTURES)
        ]
        for part in parts:
            missing = [want for want in wanted if not storage.exists(self._path(pictures, want, part))]
            if missing:
                self._make(pictures, missing, part, progress)
        return {want: _joined([self._path(pictures, want, part) for part in parts]) for want in wanted}

    def _make(self, pictures: Pictures, wanted: Sequence[Wanted], part: range, progress: Progress) -> None:
        made: dict[Wanted, list[NDArray[np.float32]]] = {want: [] for want in wanted}
        step = self._encoder.batch_size
        for start in range(part.start, part.stop, step):
            batch = range(start, min(start + step, part.stop))
            clean = [pictures.read(index).convert("RGB") for index in batch]
            self.decoded += len(batch)
            for variant in dict.fromkeys(want.variant for want in wanted):
                layers = [want.layer for want in wanted if want.variant == variant]
                features = self._encoder.images(self._corrupted(clean, batch, variant), layers)
                self.encoded += len(batch)
                for layer in layers:
                    made[Wanted(layer, variant)].append(features[layer])
                progress(batch.stop, pictures.count, f"{pictures.name} {variant or 'clean'}")
        for want, rows in made.items():
            file = io.BytesIO()
            np.save(file, np.concatenate(rows), allow_pickle=False)
            storage.write_bytes(self._path(pictures, want, part), file.getvalue())

    def _corrupted(self, clean: list[Image.Image], batch: range, variant: Variant | None) -> list[Image.Image]:
        if variant is None:
            return clean
        return [
            Image.fromarray(corrupt(np.asarray(picture), variant.corruption, variant.severity, index, self._seed))
            for index, picture in zip(batch, clean, strict=True)
        ]

    def _path(self, pictures: Pictures, want: Wanted, part: range) -> str:
        key: dict[str, Any] = {
            **self._fixed,
            "pictures": pictures.identity,
            "layer": want.layer,
            "variant": [str(want.variant), self._seed] if want.variant else None,
            "part": [part.start, part.stop],
        }
        return storage.join(self.folder, f"{storage.sha256(storage.canonical_json(key))[:32]}.npy")


def _joined(paths: Sequence[str]) -> NDArray[np.float32]:
    parts = [_read(path) for path in paths]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _read(path: str) -> NDArray[np.float32]:
    """Memory-mapped from a local disk, read whole from anywhere else."""
    if storage.is_local(path):
        rows = np.load(path.removeprefix("file://"), mmap_mode="r", allow_pickle=False)
    else:
        rows = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    return np.asanyarray(rows, np.float32)
