"""What a benchmark's process cost with all that it started: the most memory at once, and CPU time."""

import threading
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cost:
    """What a process and all below it took."""

    peak_bytes: int
    cpu_seconds: float


class Watch:
    """Looks 5 times a second at a process and all below it: the CPU time of each and, each third time, their memory.

    Memory is the sum of proportional set sizes: a page that several of them share (a library, Ray's object store) counts once,
    where resident sizes would count it for each. One that others on the machine share counts in part, so let none run.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self._peak_bytes = 0
        self._cpu: dict[int, float] = {}
        self._before: dict[int, float] = {}

    def __enter__(self) -> "Watch":
        self._look()
        self._before, self._cpu = self._cpu, {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    @property
    def cost(self) -> Cost:
        return Cost(self._peak_bytes, sum(t - self._before.get(pid, 0.0) for pid, t in self._cpu.items()))

    def _watch(self) -> None:
        looks = 0
        while not self._stop.wait(0.2):
            looks += 1
            self._look(with_memory=looks % 3 == 0)  # which takes the kernel 2 ms a process

    def _look(self, with_memory: bool = True) -> None:
        total = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                if with_memory:
                    total += process.memory_full_info().pss
                self._cpu[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        self._peak_bytes = max(self._peak_bytes, total)
