"""The executors without Ray: in this process, one item after the other or several at once; on processes that stay."""

import functools
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.execution import executor
from pipeline.execution.executor import InProcess
from pipeline.execution.on_processes import Processes


def test_items_come_in_order_or_several_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "IDLE_SECONDS", 0.05)
    assert list(InProcess().map(str, [3, 1])) == [(0, "3"), (1, "1")]
    together = threading.Barrier(3)
    idle: list[int] = []

    def meet(number: int) -> int:
        together.wait(5)  # passes only where three are here at once
        time.sleep(0.15)
        return -number

    assert dict(InProcess().map(meet, range(6), at_once=3, idle=lambda: idle.append(1))) == {n: -n for n in range(6)}
    assert idle


def test_a_failure_arrives_at_once_although_others_still_run() -> None:
    ended = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            raise ValueError("mine")
        ended.wait(5)

    started = time.monotonic()
    with pytest.raises(ValueError, match="mine"):
        list(InProcess().map(work, range(2), at_once=2))
    assert time.monotonic() - started < 2
    ended.set()


def dies_once(flag: str, number: int) -> tuple[int, int]:
    time.sleep(0.05)
    if number == 4 and not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number, os.getpid()


def always_dies(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mistaken(number: int) -> None:
    raise DataError(f"item {number} cannot be used; leave it out")


def test_processes_stay_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    executor = Processes(2)
    work = functools.partial(dies_once, str(tmp_path / "flag"))
    first = dict(executor.map(work, range(9), at_once=3))
    assert [first[number][0] for number in range(9)] == list(range(9))
    assert (tmp_path / "flag").exists()
    second = dict(executor.map(work, range(6)))
    used = {process for _, process in second.values()}
    assert len(used) == 2
    assert os.getpid() not in used
    assert dict(executor.map(work, range(3)))[0][1] in used
    executor.close()
    for process in used:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_mistake_and_an_item_that_kills_every_process_arrive_as_one_line() -> None:
    executor = Processes(2, retries=1)
    with pytest.raises(DataError, match="cannot be used; leave it out"):
        list(executor.map(mistaken, range(3)))
    with pytest.raises(DataError, match="died 2 times"):
        list(executor.map(always_dies, [1], at_once=2))
    assert list(executor.map(str, [7])) == [(0, "7")]
    executor.close()
