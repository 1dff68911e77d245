"""Exchange: every row once, in the bucket of its key; whatever order rows arrive in, they leave in one; few files."""

import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.execution.exchange import Files, buckets_of, exchange, in_order
from pipeline.execution.executor import InProcess
from tests.phases import phase_of, split

SCHEMA = pa.schema(
    [("uid", pa.string()), ("page_url", pa.string()), ("n", pa.int64()), ("texts", pa.list_(pa.string()))]
)
ROWS = [
    {"uid": uid, "page_url": page, "n": n, "texts": texts}
    for uid in ("a", "b")
    for page in ("x", None)
    for n in (1, None)
    for texts in (["p"], ["p", "q"], [], None)
]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_arrival_leaves_no_trace(seed: int) -> None:
    shuffled = ROWS[:]
    random.Random(seed).shuffle(shuffled)
    wanted = in_order(pa.Table.from_pylist(ROWS, schema=SCHEMA), ("uid", "page_url"))
    found = in_order(pa.Table.from_pylist(shuffled, schema=SCHEMA), ("uid", "page_url"))
    assert found.equals(wanted)
    assert found.column("uid").to_pylist() == sorted(row["uid"] for row in ROWS)
    assert sorted(map(str, found.to_pylist())) == sorted(map(str, ROWS))


def test_no_row_and_one_row_are_in_order() -> None:
    for count in (0, 1):
        rows = pa.Table.from_pylist(ROWS[:count], schema=SCHEMA)
        assert in_order(rows, ("uid",)).equals(rows)


def regrouped(folder: Path, parts: list[pa.Table], key: str, buckets: int) -> list[pa.Table]:
    phase = phase_of(str(folder / "in"), parts)
    made = exchange(Files(phase.folder, phase.kept), key, buckets, str(folder / "out"), InProcess(), order=(key, "uid"))
    return [storage.read_table(made.path(part)) for part in made.parts]


def test_each_row_is_in_the_bucket_of_its_key_however_the_input_was_cut(tmp_path: Path) -> None:
    keys = [f"key {n % 17}" for n in range(200)]
    table = pa.table({"uid": [f"{n:03d}" for n in range(200)], "name": keys, "number": np.arange(200) % 13})
    for key in ("name", "number"):
        # The obvious twin: a dictionary of lists.
        wanted: dict[int, list[tuple[object, str]]] = {}
        for place, bucket in enumerate(buckets_of(table.column(key), 5).tolist()):
            wanted.setdefault(bucket, []).append((table.column(key)[place].as_py(), f"{place:03d}"))
        for count in (1, 3, 8):
            shuffled = table.take(pa.array(np.random.default_rng(count).permutation(200)))
            found = regrouped(tmp_path / key / str(count), split(shuffled, count), key, 5)
            read = [list(zip(t.column(key).to_pylist(), t.column("uid").to_pylist(), strict=True)) for t in found]
            assert read == [sorted(wanted[bucket]) for bucket in sorted(wanted)]


def test_there_are_as_many_files_as_items_and_not_their_product(tmp_path: Path) -> None:
    table = pa.table({"uid": [f"{n:04d}" for n in range(1000)], "number": np.arange(1000)})
    found = regrouped(tmp_path, split(table, 10), "number", 50)
    assert Counter(t.num_rows for t in found) == {20: 50}
    assert sum(len(names) for _, _, names in os.walk(tmp_path / "out" / "cut")) == 20  # ten pieces, ten records


def test_empty_buckets_give_no_file(tmp_path: Path) -> None:
    table = pa.table({"uid": ["a", "b"], "number": [3, 13]})
    assert [t.column("uid").to_pylist() for t in regrouped(tmp_path, [table], "number", 10)] == [["a", "b"]]
