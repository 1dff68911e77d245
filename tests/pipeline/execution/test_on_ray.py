"""The Ray executor passes the ledger's conformance: the same results as in-process, whatever dies."""

import functools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.cluster import connected
from pipeline.errors import ConfigError, DataError
from pipeline.execution.batch import Batch
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Output, PhaseResult, WorkItem, run_items
from pipeline.execution.on_ray import Crew, OnRay


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with connected():
        yield


def rows_of(number: int) -> Output:
    rows = pa.table({"uid": [f"{number}-{i}" for i in range(number)]})
    return Output.of_batch(number, Batch.of(rows).drop(["odd" if i % 2 else None for i in range(number)]))


def dies_once(flag: str, number: int) -> Output:
    """Kills its own worker the first time it sees 3."""
    if number == 3 and not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rows_of(number)


def mistaken(number: int) -> Output:
    raise DataError(f"item {number} cannot be used; leave it out")


def always_dies(number: int) -> Output:
    os.kill(os.getpid(), signal.SIGKILL)
    return rows_of(number)


ITEMS = [WorkItem(f"n{number}", number, number) for number in (5, 3, 8, 1)]


def test_results_equal_those_of_the_other_executor(tmp_path: Path) -> None:
    results = []
    for name, executor in (("ray", OnRay()), ("process", InProcess())):
        records = run_items(str(tmp_path / name), rows_of, ITEMS, executor)
        results.append(PhaseResult.of_records("rows", str(tmp_path / name), records))
    assert results[0].id == results[1].id


def test_an_item_whose_worker_is_killed_is_done_again(tmp_path: Path) -> None:
    work = functools.partial(dies_once, str(tmp_path / "flag"))
    records = run_items(str(tmp_path / "out"), work, ITEMS, OnRay())
    assert [record.fates["pairs"].rows_in for record in records] == [5, 3, 8, 1]
    assert (tmp_path / "flag").exists()


def test_a_users_mistake_arrives_as_itself(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be used; leave it out"):
        run_items(str(tmp_path), mistaken, ITEMS, OnRay())


def test_an_item_that_always_kills_its_worker_ends_in_one_line_and_not_in_an_endless_loop(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its Ray worker died 2 times"):
        run_items(str(tmp_path), always_dies, ITEMS[:1], OnRay(retries=1))


def test_items_that_declare_resources_give_the_same_results(tmp_path: Path) -> None:
    needy = OnRay().with_resources(cpus=1, gpus=0, memory_bytes=1 << 20)
    assert (needy.cpus_per_item, needy.memory_bytes_per_item) == (1, 1 << 20)
    records = [run_items(str(tmp_path / name), rows_of, ITEMS, on) for name, on in (("a", needy), ("b", InProcess()))]
    assert len({PhaseResult.of_records("rows", str(tmp_path), each).id for each in records}) == 1


@pytest.mark.parametrize(("gpus", "memory"), [(1000, 0), (0, 1 << 60)])
def test_resources_that_no_node_has_are_one_line_and_not_an_endless_wait(
    tmp_path: Path, gpus: float, memory: int
) -> None:
    with pytest.raises(ConfigError, match="no node has more than"):
        run_items(str(tmp_path), rows_of, ITEMS, OnRay().with_resources(1, gpus, memory))


def where_and_how_many(flag: str, number: int) -> tuple[int, int, int]:
    """(number, process, items this process holds now); the process dies once, when it sees 5."""
    held.append(number)
    time.sleep(0.2)
    if number == 5 and not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    found = number, os.getpid(), len(held)
    held.remove(number)
    return found


held: list[int] = []


def test_workers_that_stay_hold_several_items_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    idle: list[int] = []
    work = functools.partial(where_and_how_many, str(tmp_path / "flag"))
    found = dict(OnRay().map(work, range(12), at_once=3, idle=lambda: idle.append(1)))
    assert [found[number][0] for number in range(12)] == list(range(12))
    assert (tmp_path / "flag").exists()
    assert len({process for _, process, _ in found.values()}) <= 3  # two places, one of them used twice
    assert max(most for *_, most in found.values()) == 3
    assert os.getpid() not in {process for _, process, _ in found.values()}


def test_an_item_that_kills_every_worker_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its Ray worker died 2 times"):
        list(OnRay(retries=1).map(always_dies, [1], at_once=2))
    with pytest.raises(DataError, match="cannot be used"):
        list(OnRay().map(mistaken, [1, 2], at_once=2))


def process_of(number: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def test_a_crew_does_one_map_after_the_other_in_the_same_processes_until_it_is_closed(tmp_path: Path) -> None:
    crew = Crew(in_flight=2)
    first = set(dict(crew.map(process_of, range(4))).values())
    assert len(first) == 2
    assert set(dict(crew.map(process_of, range(8), at_once=3)).values()) == first
    again = functools.partial(where_and_how_many, str(tmp_path / "flag"))
    found = dict(crew.map(again, [5, 6, 7], at_once=1))  # 5 kills one of them
    assert [found[position][0] for position in range(3)] == [5, 6, 7]
    assert max(most for *_, most in found.values()) == 1
    with pytest.raises(DataError, match="cannot be used"):
        list(crew.map(mistaken, [1]))
    assert not first & set(
        dict(crew.map(process_of, range(2))).values()
    )  # a failure ended them: what ran belonged to it
    # They hold their CPUs, and give them back where others are asked for.
    every = crew.with_resources(OnRay().places(), 0, 0)
    assert len(dict(every.map(process_of, range(1)))) == 1
