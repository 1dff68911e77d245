"""How much memory a run takes: the proportional set size of this process and all below it, sampled while it works."""

import threading
from types import TracebackType

import psutil

SECONDS_BETWEEN_SAMPLES = 3.0


class PeakMemory:
    """A context manager whose `peak_bytes` grows while it is open. Shared pages count once (PSS), so Ray's object store
    and forked workers are not counted over and over."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="peak-memory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while not self._stop.wait(SECONDS_BETWEEN_SAMPLES):
            self.peak_bytes = max(self.peak_bytes, memory_bytes())


def memory_bytes() -> int:
    """Of this process and its descendants now; processes that end meanwhile count as nothing."""
    total = 0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            full = process.memory_full_info()
            total += int(getattr(full, "pss", full.rss))
        except (psutil.Error, OSError):
            continue
    return total
