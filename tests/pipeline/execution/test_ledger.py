"""The ledger: nothing is done twice, nothing half done is trusted, no row is lost."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.batch import Batch
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items

CALLS: list[int] = []


def halve(number: int) -> Output:
    """Keeps the even numbers below `number`."""
    CALLS.append(number)
    if number == 13:
        raise DataError("13: unlucky; leave it out")
    rows = pa.table({"uid": [str(i) for i in range(number)], "value": list(range(number))})
    odd = ["odd" if i % 2 else None for i in range(number)]
    return Output.of_batch(number, Batch.of(rows).drop(odd), telemetry={"calls": 1})


def items(*numbers: int) -> list[WorkItem]:
    return [WorkItem(f"n{number}", number, number) for number in numbers]


class Backwards:
    """An executor that finishes the last item first."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for position in reversed(range(len(items))):
            yield position, function(items[position])


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def test_finished_items_are_not_run_again(tmp_path: Path) -> None:
    first = run_items(str(tmp_path), halve, items(3, 8), InProcess())
    again = run_items(str(tmp_path), halve, items(3, 8, 5), InProcess())
    assert CALLS == [3, 8, 5]
    assert again[:2] == first


def test_an_item_with_another_identity_is_run_again(tmp_path: Path) -> None:
    run_items(str(tmp_path), halve, [WorkItem("n", 1, 3)], InProcess())
    record = run_items(str(tmp_path), halve, [WorkItem("n", 2, 4)], InProcess())[0]
    assert record.fates["pairs"].rows_in == 4


@pytest.mark.parametrize("damage", ["gone", "short", "half-written record"])
def test_an_item_whose_files_are_damaged_is_run_again(tmp_path: Path, damage: str) -> None:
    record = run_items(str(tmp_path), halve, items(8), InProcess())[0]
    kept = tmp_path / record.files["kept"].path
    if damage == "gone":
        kept.unlink()
    elif damage == "short":
        kept.write_bytes(kept.read_bytes()[:-1])
    else:
        (tmp_path / "items" / "n8.json").unlink()
        (tmp_path / "items" / "n8.json.123.tmp").write_text('{"name": "n8"')
    assert run_items(str(tmp_path), halve, items(8), InProcess())[0].files == record.files
    assert CALLS == [8, 8]


def test_the_order_of_completion_changes_nothing(tmp_path: Path) -> None:
    results = []
    for name, executor in (("a", InProcess()), ("b", Backwards())):
        records = run_items(str(tmp_path / name), halve, items(3, 8, 5), executor)
        results.append(PhaseResult.of_records("halve", str(tmp_path / name), records))
    assert results[0].id == results[1].id
    assert results[0].fates == {"pairs": Fate(16, 9, {"odd": 7})}


def test_an_error_leaves_what_was_finished_and_only_that(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unlucky"):
        run_items(str(tmp_path), halve, items(3, 13, 5), InProcess())
    assert storage.list_names(str(tmp_path / "items")) == ["n3.json"]


def test_rows_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(AssertionError, match="rows lost"):
        Fate(10, 8, {"odd": 1})


def test_a_phase_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    records = run_items(str(tmp_path), halve, items(3, 8), InProcess())
    result = PhaseResult.of_records("halve", str(tmp_path), records, {"t": 3})
    result.save()
    read = PhaseResult.load(str(tmp_path))
    assert read == result
    assert read.read_kept().column("value").to_pylist() == [0, 2, 0, 2, 4, 6]
    assert read.read_dropped().column("reason").to_pylist() == ["odd"] * 5
    assert read.telemetry == {"calls": 2}


def test_an_unfinished_phase_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not finished"):
        PhaseResult.load(str(tmp_path))


def test_progress_counts_what_an_earlier_run_finished(tmp_path: Path) -> None:
    run_items(str(tmp_path), halve, items(3), InProcess())
    seen: list[tuple[int, int]] = []
    run_items(str(tmp_path), halve, items(3, 8), InProcess(), lambda done, total, what: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_an_item_whose_file_was_changed_in_place_or_whose_record_is_torn_is_run_again(tmp_path: Path) -> None:
    record = run_items(str(tmp_path), halve, items(8), InProcess())[0]
    kept = tmp_path / record.files["kept"].path
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 255
    kept.write_bytes(bytes(data))
    assert run_items(str(tmp_path), halve, items(8), InProcess())[0].files == record.files
    torn = tmp_path / "items" / "n8.json"
    torn.write_bytes(torn.read_bytes()[:40])
    run_items(str(tmp_path), halve, items(8), InProcess())
    assert CALLS == [8, 8, 8]
