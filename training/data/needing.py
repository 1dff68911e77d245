"""A source without the samples that an objective cannot learn from: pictures without text, or without a label.

open_clip leaves out pairs without a caption as well; an empty caption as a text would teach that all such pictures mean the same.
What is left out is a function of the data alone, so the order of the others is too. Of a picture with several captions the blank
ones are left out. A picture with none of several labels (multi-label) is a picture of none of the classes, and stays.
"""

from collections import Counter
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from training.data.part import Part, Source

REASONS = {"text": "no_text", "label": "no_label"}
KEPT_FROM_ROWS = 1 << 20
"""Sources with so many samples are looked through once per machine: the counts are kept in the cache folder."""
_FORM = "1"


class Needing:
    """`source` less the samples that lack one of `needs` ("text", "label"); `dropped` counts them by reason."""

    def __init__(self, source: Source, needs: Set[str], folder: str, settings: Any) -> None:
        self._source, self._needs = source, [need for need in REASONS if need in needs]
        self.name, self.id, self.lost = source.name, source.id, source.lost
        self.has_captions, self.classes, self.multi_label = source.has_captions, source.classes, source.multi_label
        self.whole_rows = sum(source.part_rows)
        counts = self._kept_counts(folder, settings)
        self.part_rows = tuple(count["kept"] for count in counts)
        self.dropped: Counter[str] = Counter()
        for count in counts:
            self.dropped.update({reason: n for reason, n in count.items() if reason != "kept" and n})

    def part(self, number: int) -> Part:
        part = self._source.part(number)
        keeps, _ = self._looked(part)
        if not keeps.all():
            rows = np.flatnonzero(keeps)
            taken = pa.array(rows)
            part = Part(
                part.files,
                part.offsets[rows],
                part.lengths[rows],
                part.captions.take(taken) if part.captions is not None else None,
                part.labels.take(taken) if part.labels is not None else None,
                part.file_of[rows] if part.file_of is not None else None,
            )
        if "text" in self._needs and part.captions is not None and _is_list(part.captions):
            part = replace(part, captions=_without_blanks(part.captions))
        return part

    def _looked(self, part: Part) -> tuple[Any, dict[str, int]]:
        """(N,) bool, and how many stay and fall; a sample that lacks both counts as no_text."""
        keeps, counts = np.ones(len(part), bool), {}
        for need in self._needs:
            before = int(keeps.sum())
            if need == "text":
                keeps &= has_text_by_row(part)
            elif not self.multi_label:
                keeps &= part.labels.is_valid().to_numpy(zero_copy_only=False) if part.labels is not None else False
            counts[REASONS[need]] = before - int(keeps.sum())
        return keeps, {"kept": int(keeps.sum())} | counts

    def _kept_counts(self, folder: str, settings: Any) -> list[dict[str, int]]:
        if self.whole_rows < KEPT_FROM_ROWS:
            return self._counts()
        key = storage.sha256(storage.canonical_json([_FORM, self.id, settings, self._needs]))
        kept = storage.join(folder, "indexes", key[:32] + ".json")
        try:
            found: list[dict[str, int]] = storage.read_json(kept)
            if len(found) == len(self._source.part_rows):
                return found
        except (OSError, ValueError, TypeError):
            pass
        counts = self._counts()
        storage.write_json(kept, counts)
        return counts

    def _counts(self) -> list[dict[str, int]]:
        with ThreadPoolExecutor(4) as pool:
            numbers = range(len(self._source.part_rows))
            return list(pool.map(lambda number: self._looked(self._source.part(number))[1], numbers))


def has_text_by_row(part: Part) -> Any:
    """(N,) bool: whether a row has a caption with more than white space in it."""
    if part.captions is None:
        return np.zeros(len(part), bool)
    if not _is_list(part.captions):
        return _says_something(part.captions)
    rows = pc.list_parent_indices(part.captions).to_numpy(zero_copy_only=False)
    spoken = _says_something(part.captions.flatten())
    return np.bincount(rows[spoken], minlength=len(part)) > 0


def _says_something(texts: pa.Array) -> Any:
    trimmed = pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(texts, "")))
    return pc.greater(trimmed, 0).to_numpy(zero_copy_only=False)


def _is_list(values: pa.Array) -> bool:
    return bool(pa.types.is_list(values.type) or pa.types.is_large_list(values.type))


def _without_blanks(captions: pa.Array) -> pa.Array:
    if _says_something(captions.flatten()).all():
        return captions
    rows = [[text for text in row or () if text and text.strip()] for row in captions.to_pylist()]
    return pa.array(rows, captions.type)
