"""Features of pictures, made once and kept: every protocol is a function of them.

A feature file is named by a hash of all that decides its content (names.py): checkpoint, code of model and preprocessing,
picture list, corruption, layer, precision, part. So a changed anything is another file, a stale hit cannot happen, and any
number of runs may share one folder. Parts of PART_PICTURES rows are written whole, so an interrupted run goes on at the next
part, and an executor may hand parts to as many workers as it has. A file that was damaged since is made again.
"""

import contextlib
import functools
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.features import rates
from evaluation.features.config import FeaturesConfig
from evaluation.features.make import Part, make_part
from evaluation.features.names import Names, every_layer
from evaluation.features.texts import stored_texts
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.executor import Executor, InProcess
from pipeline.execution.progress import Progress, silent


class FeatureStore:
    """Feature files of one checkpoint below `folder`. `decoded` counts pictures read, `encoded` those that went forward,
    `damaged` files that could not be read and were made again.

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
        self.damaged = 0
        self._encoder = encoder
        self._config = config or FeaturesConfig()
        self._seed = seed
        self._executor: Executor = executor or InProcess()
        self._opener = opener if executor and opener else functools.partial(_itself, encoder)
        self.names = Names(folder, encoder.checkpoint_id, self._config.precision, seed)

    def get(
        self, pictures: Pictures, wanted: Sequence[Wanted], progress: Progress = silent
    ) -> dict[Wanted, NDArray[np.float32]]:
        """The wanted features, each of shape (pictures.count, width); what is missing is made in one pass.

        Raises DataError for a picture that cannot be read and for features that are no numbers.
        """
        self._make_missing(pictures, wanted, progress)
        try:
            return {want: self._read(pictures, want) for want in wanted}
        except Damaged:
            self._remove_damaged(pictures, every_layer(wanted, self._encoder.by_the_way))
            self._make_missing(pictures, wanted, progress)
            return {want: self._read(pictures, want) for want in wanted}

    def texts(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """(len, D), not normalised (texts.py)."""
        made, damaged = stored_texts(self.folder, self._encoder, sentences)
        self.damaged += damaged
        return made

    def _make_missing(self, pictures: Pictures, wanted: Sequence[Wanted], progress: Progress) -> None:
        names = self.names
        missing = [
            Part(part, {want: names.path(pictures, want, part) for want in every})
            for part, every in names.missing(pictures, wanted, self._encoder.by_the_way)
        ]
        if missing:
            self._make(pictures, missing, progress)

    def _remove_damaged(self, pictures: Pictures, wanted: Sequence[Wanted]) -> None:
        """So that they are missing: what they held is known from their names, and is made again."""
        whole = range(pictures.count)
        for want in wanted:
            for part in dict.fromkeys((whole, *self.names.parts(pictures))):
                path = self.names.path(pictures, want, part)
                if not storage.exists(path):
                    continue
                try:
                    _rows(path, len(part))
                except Damaged:
                    storage.remove_tree(path)
                    self.damaged += 1

    def _read(self, pictures: Pictures, want: Wanted) -> NDArray[np.float32]:
        """(pictures.count, width); parts on a local disk become one file, which is mapped and not read."""
        files = {self.names.path(pictures, want, part): len(part) for part in self.names.parts(pictures)}
        whole = self.names.whole(pictures, want)
        if len(files) > 1 and storage.is_local(self.folder):
            with contextlib.suppress(FileNotFoundError):  # another evaluation has joined them meanwhile
                if not storage.exists(whole):
                    _join(files, whole.removeprefix("file://"))
            files = {whole: pictures.count}
        parts = [_rows(path, count) for path, count in files.items()]
        # float16 becomes float32 in memory; float32 stays a map of the file.
        return np.asanyarray(parts[0] if len(parts) == 1 else np.concatenate(parts), np.float32)

    def _make(self, pictures: Pictures, missing: list[Part], progress: Progress) -> None:
        """Each part is an item; in this process the progress is told after every batch, elsewhere after every part."""
        here = isinstance(self._executor, InProcess)
        done = pictures.count - sum(len(part.rows) for part in missing)
        before = self.encoded
        told: Progress = functools.partial(_shifted, progress, pictures) if here else silent
        started = time.monotonic()
        work = functools.partial(make_part, self._opener, pictures, self._seed, self._config, told)
        for _, made in self._executor.map(work, missing):
            self.decoded += made.decoded
            self.encoded += made.encoded
            done += made.decoded
            if not here:
                progress(done, pictures.count, pictures.name)
        rates.remember(self.folder, self._encoder.name, self.encoded - before, time.monotonic() - started)


def _itself(encoder: Encoder) -> Encoder:
    return encoder


def _shifted(progress: Progress, pictures: Pictures, done: int, _: int, what: str) -> None:
    progress(done, pictures.count, what)


def _join(files: Mapping[str, int], whole: str) -> None:
    """Write the parts one after the other into a file that appears when it is complete, and remove them."""
    parts = [_rows(path, count) for path, count in files.items()]
    unfinished = f"{whole}.{os.getpid()}.part"
    rows = np.lib.format.open_memmap(
        unfinished, "w+", parts[0].dtype, (sum(len(part) for part in parts), *parts[0].shape[1:])
    )
    at = 0
    for part in parts:
        rows[at : at + len(part)] = part
        at += len(part)
    rows.flush()
    del rows
    os.replace(unfinished, whole)
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path.removeprefix("file://"))


class Damaged(DataError):  # noqa: N818 - a state of a file
    """A file of features that is not as it was written."""


def _rows(path: str, count: int) -> NDArray[np.floating[Any]]:
    """Memory-mapped from a local disk, read whole from anywhere else. Raises Damaged."""
    try:
        if storage.is_local(path):
            rows = np.load(path.removeprefix("file://"), mmap_mode="r", allow_pickle=False)
        else:
            rows = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
        if len(rows) != count:
            raise ValueError(f"{len(rows)} rows of {count}")
    except (ValueError, EOFError, TypeError) as error:
        raise Damaged(f"{path}: a damaged feature file ({error}); remove it and evaluate again") from error
    return np.asanyarray(rows)
