"""Notices to leave: SIGTERM from a scheduler, or whatever a callable says of the time that is left.

A run that is told to leave saves, and ends with EXIT_CODE: whoever started it may start it again, and it goes on.
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: not done, try again."""

Preemption = Callable[[], float | None]
"""Seconds until this machine is taken away; None while nobody says so. Every rank calls it equally often."""


class PreemptedError(Exception):
    """The run was told to leave and has saved; the same command goes on. No mistake of the user's, and no bug."""


class Notice:
    """What is known of the end: a moment of time.monotonic(), or None."""

    def __init__(self, seconds_after_sigterm: float, preemption: Preemption | None) -> None:
        self._grace, self._preemption = seconds_after_sigterm, preemption
        self._deadline: float | None = None
        self._before: Any = None
        self._listens = threading.current_thread() is threading.main_thread()
        if self._listens:  # Python delivers signals to the main thread only
            self._before = signal.signal(signal.SIGTERM, self._told)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._end_in(self._grace)

    def _end_in(self, seconds: float) -> None:
        moment = time.monotonic() + seconds
        self._deadline = moment if self._deadline is None else min(self._deadline, moment)

    def ask(self) -> None:
        """Ask the callable, where there is one."""
        if self._preemption is not None and (left := self._preemption()) is not None:
            self._end_in(left)

    @property
    def seconds_left(self) -> float | None:
        return None if self._deadline is None else self._deadline - time.monotonic()

    def close(self) -> None:
        if self._listens:
            signal.signal(signal.SIGTERM, self._before)
            self._listens = False
