"""Matcher: which of 500,000 queries stand in each text of a column, in one compiled pass over Arrow's own bytes.

The rule is MetaCLIP's (`queries.spaced`): " query " is looked for in the spaced text, so a query matches whole words only.
The queries make a hashed trie (match_kernels.py): two numpy arrays, some 60 bytes per query, that Ray's workers share
without a copy and that nothing has to be rebuilt from. An Aho-Corasick automaton takes about ten times the
memory and a fifth of the speed (infra/benchmarks/query_matching.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.compiled import frozen, text_buffers
from pipeline.matching import match_kernels
from pipeline.matching.queries import LONE_SURROGATE, MARKS, fold

MAXIMUM_BYTES = (1 << 31) - 2


def _byte_kinds() -> np.ndarray:
    kinds = np.zeros(256, np.uint8)
    kinds[list(MARKS.encode())] = match_kernels.MARK
    kinds[list(b" \t\r\n")] = match_kernels.BLANK
    return frozen(kinds)


def _byte_fold(lower: bool) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    if lower:
        table[65:91] += 32
    return frozen(table)


@dataclass(frozen=True)
class Matcher:
    """The list as numpy arrays: the slots of the trie, and a record for each query."""

    normalised: bool
    slots: np.ndarray
    records: np.ndarray

    @staticmethod
    def of(queries: Sequence[str], rule: str = "normalised") -> "Matcher":
        """Build the trie; of queries that are equal under the rule the first stands for all."""
        normalised = rule == "normalised"
        column = pa.array(
            [fold(query) if normalised else LONE_SURROGATE.sub("\ufffd", query) for query in queries], pa.large_string()
        )
        data, offsets = text_buffers(column)
        size = len(data) + 2 * match_kernels.HEAD * len(queries)  # at most: records begin at multiples of HEAD
        if size > MAXIMUM_BYTES:
            raise ValueError(f"a query list of {size:,} bytes; the trie holds {MAXIMUM_BYTES:,}")
        nodes = int(match_kernels.count_words(data, offsets))
        slots = np.zeros(1 << max(4, (3 * nodes // 2).bit_length()), np.uint64)
        records = np.zeros(-(-size // match_kernels.HEAD), np.uint64)
        used = match_kernels.build(data, offsets, slots, records, records.view(np.uint8))
        return Matcher(normalised, frozen(slots), frozen(records[:used].copy()))

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():  # arrays that were copied on the way come back writable
            object.__setattr__(self, name, frozen(value) if isinstance(value, np.ndarray) else value)

    @property
    def bytes(self) -> int:
        """Memory that the list takes."""
        return int(self.slots.nbytes + self.records.nbytes)

    def match(self, texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        """For each text (a null is empty) the sorted numbers of its queries, each once, as list<int32>."""
        if self.normalised:
            texts = folded_beyond_ascii(texts)
        data, offsets = text_buffers(texts)
        ends, numbers = match_kernels.match_all(
            data,
            offsets,
            _byte_kinds(),
            _byte_fold(self.normalised),
            self.slots,
            self.records,
            frozen(self.records.view(np.uint8)),
        )
        if len(numbers) > np.iinfo(np.int32).max:
            raise ValueError(f"{len(numbers):,} matches in one batch; match fewer texts at a time")
        return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), pa.array(numbers))


def folded_beyond_ascii(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column with `fold` applied to the texts that are not ASCII; the others are folded byte by byte later."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    strange = match_kernels.beyond_ascii(*text_buffers(texts))
    if not strange.any():
        return texts
    mask = pa.array(strange)
    return pc.replace_with_mask(
        texts, mask, pa.array([fold(text) for text in texts.filter(mask).to_pylist()], texts.type)
    )
