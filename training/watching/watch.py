"""What a training costs while it goes on: samples per second, MFU, waiting for data, memory; and time by phase.

Values are returned, nothing is logged. All of them are this rank's own; ranks walk in step, so one rank tells the pace.

MFU is the share of the machine's peak that the model's own arithmetic fills (Chowdhery et al. 2022, arXiv:2204.02311,
appendix B): 3 x the forward FLOPs per sample (the backward pass is two more products per product) where all learns
(training/watching/flops.py), padding that was not computed not counted, recomputation (activation checkpoints, gradient cache) not
counted either.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from training.config import TrainConfig
from training.models.linear import Linear
from training.specs.base import ModelSpec
from training.watching.cards import CARDS, card_called
from training.watching.flops import model_flops

WINDOW_SECONDS = 10.0
_precise: ContextVar[dict[str, float] | None] = ContextVar("precise", default=None)
_PAGE_GIB = os.sysconf("SC_PAGE_SIZE") / 2**30

Batch = TypeVar("Batch")


class _Textual(Protocol):
    @property
    def tokens(self) -> torch.Tensor | None: ...


@dataclass(frozen=True)
class Pace:
    """One step's costs, over the last seconds; `measured` are the numbers beside the speed, by name."""

    samples_per_second: float
    measured: dict[str, float]


class Watch:
    """Times one rank's steps. `peak_flops` is that of one rank's device; 0 leaves MFU out."""

    def __init__(
        self,
        config: TrainConfig,
        spec: ModelSpec,
        world_size: int,
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
        peak: float | None = None,
    ) -> None:
        self._clock = clock
        self._spec, self._config = spec, config
        self._samples = config.global_batch_size
        self._cuda = device if device.type == "cuda" else None
        self._peak = world_size * (peak_flops(config, device) if peak is None else peak)
        self._waited = 0.0
        self._flops = 0.0
        self._window = deque([(clock(), 0.0, 0.0)])
        self._timed: dict[str, float] | None = None

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches as they are, the time until each is there counted as waiting for data."""
        source = iter(batches)
        while True:
            asked = self._clock()
            try:
                with self.phase("data wait"):
                    batch = next(source)
            except StopIteration:
                return
            self._waited += self._clock() - asked
            yield batch

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time spent inside counts as `name`, in a profiler's trace and for whoever times precisely."""
        seconds = _precise.get()
        started = self._clock()
        with torch.profiler.record_function(name):
            try:
                yield
            finally:
                if seconds is not None:
                    if self._cuda is not None:
                        torch.cuda.synchronize(self._cuda)
                    seconds[name] = seconds.get(name, 0.0) + self._clock() - started

    def tick(self, batch: _Textual) -> Pace:
        """At the end of each step that trained on `batch`."""
        self._flops += self._samples * self._sample_flops(batch)
        if (
            timed := _precise.get()
        ) is not self._timed:  # somebody times precisely from here on, or no longer: a window of its own
            self._timed = timed
            self._window = deque([self._window[-1]])
        self._window.append((self._clock(), self._waited, self._flops))
        while timed is None and len(self._window) > 2 and self._window[0][0] < self._window[-1][0] - WINDOW_SECONDS:
            self._window.popleft()
        (start, waited, flops), (end, waited_now, flops_now) = self._window[0], self._window[-1]
        seconds = max(1e-9, end - start)
        measured = {"data_wait_share": (waited_now - waited) / seconds, **memory(self._cuda)}
        if self._peak:
            measured["mfu"] = (flops_now - flops) / seconds / self._peak
        speed = self._samples * (len(self._window) - 1) / seconds
        return Pace(round(speed, 1), {name: float(f"{value:.4g}") for name, value in measured.items()})

    def _sample_flops(self, batch: _Textual) -> float:
        tokens = batch.tokens
        # A text ends at its highest token; what stands behind it is not counted.
        length = None if tokens is None else round(float(tokens.argmax(dim=1).float().mean())) + 1
        return model_flops(self._spec, self._config, length)


@contextmanager
def timed_precisely() -> Iterator[dict[str, float]]:
    """Inside, seconds by phase are gathered, and each phase waits for the GPU, so that its work counts there; that costs.

    A `Watch` that ticks inside tells the pace of these steps alone.
    """
    seconds: dict[str, float] = {}
    token = _precise.set(seconds)
    try:
        yield seconds
    finally:
        _precise.reset(token)


def memory(cuda: torch.device | None) -> dict[str, float]:
    """GiB: what this process holds of the host now, and of its GPU at most so far."""
    held = {}
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            held["host_gib"] = int(file.read().split()[1]) * _PAGE_GIB
    except OSError:  # no Linux
        import resource

        held["host_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
    if cuda is not None:
        held["gpu_gib"] = torch.cuda.max_memory_allocated(cuda) / 2**30
    return held


def peak_flops(config: TrainConfig, device: torch.device) -> float:
    """FLOP/s that this rank's device can do at best; 0 for a GPU that nobody told us of (train.watch.card names it)."""
    if device.type == "cpu":
        return _measured_peak()
    card = CARDS[config.watch.card] if config.watch.card else card_called(torch.cuda.get_device_name(device))
    return card.peak_flops(config.precision) if card else 0.0


def _measured_peak(side: int = 512, seconds: float = 0.05) -> float:
    """Of this process's CPU threads, by the best of some linear layers: a CPU's data sheet says little."""
    layer, x = Linear(side, side, bias=False), torch.ones(side, side)
    best, tries, end = 0.0, 0, time.perf_counter() + seconds
    with torch.no_grad():
        layer(x)
        while (started := time.perf_counter()) < end or tries < 5:
            layer(x)
            best, tries = max(best, 2 * side**3 / (time.perf_counter() - started)), tries + 1
    return best
