"""Part: the index of a run of samples that lie together, a shard's rows mostly; and what every source of parts has.

A source is read one part at a time, so that memory holds the parts of the current window and not a whole web-scale index.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data.losses import Lost

Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class DataFile:
    """A file that pictures lie in. `sha256` is known where a manifest says it; `damage` is why none of it may be read; `changed`
    is what its store says of when it was written, where no checksum tells one content from another."""

    path: str
    bytes: int
    sha256: str | None = None
    damage: str = ""
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """N samples: row i is `lengths[i]` bytes at `offsets[i]` of `files[file_of[i]]`, or of files[0] where `file_of` is None."""

    files: Sequence[DataFile]
    offsets: Integers
    lengths: Integers
    captions: pa.Array | None
    """N strings or lists of strings."""
    labels: pa.Array | None
    """N class numbers, names, or lists of them."""
    file_of: Integers | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    def file(self, row: int) -> DataFile:
        return self.files[int(self.file_of[row]) if self.file_of is not None else 0]

    def caption(self, row: int, draw: float) -> str:
        """One of the row's captions, chosen by `draw` in [0, 1)."""
        assert self.captions is not None
        value = self.captions[row].as_py()
        if isinstance(value, list):
            value = value[int(draw * len(value))] if value else ""
        return value or ""


class Source(Protocol):
    """Samples 0 .. rows-1 in parts. `id` depends on content alone, never on where it lies."""

    name: str
    id: str
    part_rows: tuple[int, ...]
    has_captions: bool
    classes: tuple[str, ...]
    """Names of the classes; () where there are no labels."""
    multi_label: bool
    lost: tuple[Lost, ...]
    """Samples that cannot be read, by file."""

    def part(self, number: int) -> Part:
        """Reads the part's index. Raises DataError where it cannot be."""
        ...


def text_column(column: pa.Array | pa.ChunkedArray) -> pa.Array | None:
    """Captions as strings or lists of strings, from strings, lists of them, or our `texts` (structs); None for other types."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(values, pa.ChunkedArray):  # no chunk at all
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
        return None
    if pa.types.is_struct(values.type.value_type) and values.type.value_type.get_field_index("text") >= 0:
        lists = [[text["text"] for text in row or ()] for row in values.to_pylist()]
        return pa.array(lists, pa.list_(pa.string()))
    return values if pa.types.is_string(values.type.value_type) else None


def has_text(captions: pa.Array) -> bool:
    """Whether any of them is a text: more than white space."""
    if pa.types.is_list(captions.type) or pa.types.is_large_list(captions.type):
        captions = captions.flatten()
    return bool(pc.any(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(captions, ""))), 0)).as_py())
