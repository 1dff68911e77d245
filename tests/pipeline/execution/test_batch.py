"""A batch loses no row and forgets no reason."""

import pyarrow as pa
import pytest

from pipeline.execution.batch import DROPPED, Batch, add_counts


def batch() -> Batch:
    return Batch.of(pa.table({"uid": ["a", "b", "c"], "text": ["x", "y", "z"], "n": [1, 2, 3]}))


def test_dropped_rows_carry_reason_and_evidence() -> None:
    after = batch().drop([None, "even", None], ["-", "n = 2", "-"]).drop(["first", None])
    assert after.column("uid") == ["c"]
    assert after.dropped.schema == DROPPED
    assert [
        (row["uid"], row["text"], row["reason"], row["evidence"], row["url"]) for row in after.dropped.to_pylist()
    ] == [
        ("b", "y", "even", "n = 2", None),
        ("a", "x", "first", None, None),
    ]
    assert after.reasons() == {"even": 1, "first": 1}


def test_a_batch_of_which_nothing_falls_is_the_same() -> None:
    assert batch().drop([None] * 3).rows.equals(batch().rows)


def test_a_verdict_for_another_number_of_rows_is_a_bug() -> None:
    with pytest.raises(ValueError, match="2 verdicts for 3 rows"):
        batch().drop([None, "x"])


def test_columns_are_added_and_replaced() -> None:
    after = batch().with_column("n", [4, 5, 6]).with_column("m", ["p", "q", "r"])
    assert (after.column("n"), after.column("m")) == ([4, 5, 6], ["p", "q", "r"])


def test_counts_add_up() -> None:
    assert add_counts([{"a": 1}, {"b": 2, "a": 3}, {}]) == {"a": 4, "b": 2}
