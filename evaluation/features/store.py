"""Features of pictures, made once and kept: every protocol is a function of them.

A feature file is named by a hash of all that decides its content: checkpoint, code of model and preprocessing, picture
list, corruption, layer, precision, part. So a changed anything is another file, a stale hit cannot happen, and any number of
runs may share one folder. Parts of PART_PICTURES rows are written whole, so an interrupted run goes on at the next part, and
an executor may hand parts to as many workers as it has.
"""

import functools
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.features.config import FeaturesConfig
from evaluation.features.make import Part, Wanted, make_part
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from pipeline import storage
from pipeline.code_version import code_version
from pipeline.errors import DataError
from pipeline.execution.executor import Executor, InProcess
from pipeline.execution.ledger import Progress, silent

PART_PICTURES = 4096

__all__ = ["FeatureStore", "Wanted"]


class FeatureStore:
    """Feature files of one checkpoint below `folder`. `decoded` counts pictures read, `encoded` those that went forward.

    `opener` makes the encoder anew in a worker process of `executor`; without an executor `encoder` itself is used.
    """

    def __init__(
        self,
        folder: str,
        encoder: Encoder,
        seed: int,
        config: FeaturesConfig | None = None,
        executor: Executor | None = None,
        opener: Callable[[], Encoder] | None = None,
    ) -> None:
        self.folder = folder
        self.decoded = 0
        self.encoded = 0
        self._encoder = encoder
        self._config = config or FeaturesConfig()
        self._seed = seed
        self._executor: Executor = executor or InProcess()
        self._opener = opener if executor and opener else functools.partial(_itself, encoder)
        self._fixed = {
            "checkpoint": encoder.checkpoint_id,
            # Weights alone do not decide a feature: the code that runs them and prepares the pixels does too.
            "code": [code_version("training.saving.checkpoint"), code_version("evaluation.features.pixels")],
            "corruptions": code_version("evaluation.corruptions.variant"),
            "precision": self._config.precision,
        }

    def get(
        self, pictures: Pictures, wanted: Sequence[Wanted], progress: Progress = silent
    ) -> dict[Wanted, NDArray[np.float32]]:
        """The wanted features, each of shape (pictures.count, width); what is missing is made in one pass.

        Raises DataError for a picture that cannot be read and for features that are no numbers.
        """
        parts = self.parts(pictures)
        missing = [
            Part(part, {want: self.path(pictures, want, part) for want in lacking})
            for part in parts
            if (lacking := self._lacking(pictures, wanted, part))
        ]
        if missing:
            self._make(pictures, missing, progress)
        return {want: _joined([self.path(pictures, want, part) for part in parts]) for want in wanted}

    def has(self, pictures: Pictures, wanted: Sequence[Wanted]) -> bool:
        """Whether all of these are there already, so that no picture would be decoded."""
        return not any(self._lacking(pictures, wanted, part) for part in self.parts(pictures))

    @staticmethod
    def parts(pictures: Pictures) -> list[range]:
        starts = range(0, pictures.count, PART_PICTURES)
        return [range(start, min(start + PART_PICTURES, pictures.count)) for start in starts]

    def _lacking(self, pictures: Pictures, wanted: Sequence[Wanted], part: range) -> list[Wanted]:
        return [want for want in wanted if not storage.exists(self.path(pictures, want, part))]

    def _make(self, pictures: Pictures, missing: list[Part], progress: Progress) -> None:
        """Each part is an item; in this process the progress is told after every batch, elsewhere after every part."""
        here = isinstance(self._executor, InProcess)
        done = pictures.count - sum(len(part.rows) for part in missing)
        told: Progress = functools.partial(_shifted, progress, pictures) if here else silent
        work = functools.partial(make_part, self._opener, pictures, self._seed, self._config, told)
        for _, made in self._executor.map(work, missing):
            self.decoded += made.decoded
            self.encoded += made.encoded
            done += made.decoded
            if not here:
                progress(done, pictures.count, pictures.name)

    def path(self, pictures: Pictures, want: Wanted, part: range) -> str:
        key: dict[str, Any] = {
            **self._fixed,
            "pictures": pictures.identity,
            "layer": want.layer,
            "variant": [want.variant.key, self._seed] if want.variant else None,
            "part": [part.start, part.stop],
        }
        return storage.join(self.folder, f"{storage.sha256(storage.canonical_json(key))[:32]}.npy")


def _itself(encoder: Encoder) -> Encoder:
    return encoder


def _shifted(progress: Progress, pictures: Pictures, done: int, _: int, what: str) -> None:
    progress(done, pictures.count, what)


def _joined(paths: Sequence[str]) -> NDArray[np.float32]:
    parts = [_read(path) for path in paths]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _read(path: str) -> NDArray[np.float32]:
    """Memory-mapped from a local disk, read whole from anywhere else."""
    try:
        if storage.is_local(path):
            rows = np.load(path.removeprefix("file://"), mmap_mode="r", allow_pickle=False)
        else:
            rows = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: a damaged feature file ({error}); remove it and evaluate again") from error
    return np.asanyarray(rows, np.float32)
