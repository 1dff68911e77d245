"""Exchange: whatever order rows arrive in, they leave in one."""

import random

import pyarrow as pa
import pytest

from pipeline.exchange import in_order

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
