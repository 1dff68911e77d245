"""Every caption of a picture as a sample of its own, where a source has several (`captions: all`)."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import ConfigError
from training.data.part import Integers, Part, Source


class EachCaption:
    """`source` with a sample per picture and caption; a picture without a caption stays one sample."""

    def __init__(self, source: Source) -> None:
        if not source.has_captions:
            raise ConfigError(f"train.data.sources: {source.name} has no captions, so captions: all has none to take")
        self._source = source
        self.name, self.classes, self.multi_label = source.name, source.classes, source.multi_label
        self.has_captions, self.lost = True, source.lost
        self.part_rows = tuple(int(_counts(source.part(n)).sum()) for n in range(len(source.part_rows)))
        self.id = storage.sha256(storage.canonical_json(["each caption", source.id]))

    def part(self, number: int) -> Part:
        part = self._source.part(number)
        counts = _counts(part)
        rows = np.repeat(np.arange(len(part)), counts)
        assert part.captions is not None
        texts: list[Any] = []
        for value in part.captions.to_pylist():
            texts += (value or [""]) if isinstance(value, list) else [value]
        return Part(
            part.files,
            part.offsets[rows],
            part.lengths[rows],
            pa.array(texts, pa.string()),
            part.labels.take(pa.array(rows)) if part.labels is not None else None,
            part.file_of[rows] if part.file_of is not None else None,
        )


def _counts(part: Part) -> Integers:
    """Captions of each row, at least 1."""
    assert part.captions is not None
    kind = part.captions.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return np.ones(len(part), np.int64)
    lengths = part.captions.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.maximum(lengths, 1)
