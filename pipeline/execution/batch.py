"""Batch: rows on their way through curation, and the fate of the rows that fell out.

A stage is any callable `Batch -> Batch`. It adds columns to `rows` and moves rows that do not pass to `dropped`, each
with a reason a report can print and, where there is one, the evidence (a rule, a status, a distance). No row is ever
lost: rows in = rows kept + rows dropped, which the ledger checks for every work item.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

DROPPED = pa.schema(
    [
        ("uid", pa.string()),  # the pair's id, or the page's URL while pages are crawled
        ("url", pa.string()),
        ("text", pa.string()),
        ("reason", pa.string()),
        ("evidence", pa.string()),
        ("thumbnail", pa.binary()),  # a small JPEG where the picture was decoded before it fell, for the contact sheet
    ]
)


@dataclass(frozen=True)
class Batch:
    """`rows` still in the run, `dropped` (schema DROPPED) out of it."""

    rows: pa.Table
    dropped: pa.Table

    @staticmethod
    def of(rows: pa.Table) -> "Batch":
        return Batch(rows, DROPPED.empty_table())

    def column(self, name: str) -> list[Any]:
        return list(self.rows.column(name).to_pylist())

    def with_column(self, name: str, values: Sequence[Any] | pa.Array, type: pa.DataType | None = None) -> "Batch":
        """The batch with column `name` added or replaced."""
        array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, type=type)
        rows = self.rows
        if name in rows.column_names:
            return replace(self, rows=rows.set_column(rows.column_names.index(name), name, array))
        return replace(self, rows=rows.append_column(name, array))

    def drop(self, reasons: Sequence[str | None], evidence: Sequence[str | None] | None = None) -> "Batch":
        """Drop row i when `reasons[i]` is a word; `evidence[i]` says what was seen."""
        if len(reasons) != self.rows.num_rows:
            raise ValueError(f"{len(reasons)} verdicts for {self.rows.num_rows} rows")
        out = np.array([reason is not None for reason in reasons], dtype=bool)
        if not out.any():
            return self
        fallen = self.rows.filter(pa.array(out))
        where = np.flatnonzero(out).tolist()
        said = [evidence[i] if evidence is not None else None for i in where]

        def carried(name: str, kind: pa.DataType) -> Any:
            return fallen.column(name).cast(kind) if name in fallen.column_names else pa.nulls(len(where), kind)

        columns = {
            "uid": carried("uid", pa.string()),
            "url": carried("url", pa.string()),
            "text": carried("text", pa.string()),
            "reason": pa.array([reasons[i] for i in where], pa.string()),
            "evidence": pa.array(said, pa.string()),
            "thumbnail": carried("thumbnail", pa.binary()),
        }
        return Batch(
            self.rows.filter(pa.array(~out)), pa.concat_tables([self.dropped, pa.table(columns, schema=DROPPED)])
        )

    def reasons(self) -> dict[str, int]:
        """Dropped rows per reason."""
        return count_reasons(self.dropped)


Stage = Callable[[Batch], Batch]


def count_reasons(dropped: pa.Table) -> dict[str, int]:
    return dict(sorted(Counter(dropped.column("reason").to_pylist()).items()))


def add_counts(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several counts, keys sorted."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))
