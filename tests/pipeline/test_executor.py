"""The in-process executor: one after the other, or several at once."""

import threading
import time

import pytest

from pipeline import executor
from pipeline.executor import InProcess


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
