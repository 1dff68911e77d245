"""A finished phase made of given rows, as input for the phase under test."""

import itertools
from collections.abc import Sequence

import pyarrow as pa

from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items


def phase_of(folder: str, tables: Sequence[pa.Table], name: str = "given") -> PhaseResult:
    """A PhaseResult whose kept files are the tables, in order."""

    def work(number: int) -> Output:
        rows = tables[number]
        return Output({"kept": rows, "dropped": rows.slice(0, 0)}, {"pairs": Fate(rows.num_rows, rows.num_rows)})

    items = [WorkItem(f"part-{i:05d}", i, i) for i in range(len(tables))]
    result = PhaseResult.of_records(name, folder, run_items(folder, work, items, InProcess()))
    result.save()
    return result


def split(rows: pa.Table, parts: int) -> list[pa.Table]:
    """The rows in `parts` pieces of about equal size."""
    edges = [round(i * rows.num_rows / parts) for i in range(parts + 1)]
    return [rows.slice(a, b - a) for a, b in itertools.pairwise(edges)]
