"""What Ray has room for while it trains, in a line whenever that changes: Ray Train itself waits for lost nodes without a word."""

import time
from collections.abc import Callable, Mapping

from training.config import TrainConfig

SECONDS_BETWEEN_LOOKS = 5.0


def workers_that_fit(config: TrainConfig, available: Mapping[str, float], gpus_per_worker: float) -> int:
    """How many of `config.workers` have their CPUs and GPUs among all that the living nodes have."""
    needs = {"CPU": config.launch.cpus_per_worker, "GPU": gpus_per_worker}
    return min(config.workers, *(int(available.get(name, 0) // each) for name, each in needs.items() if each))


class Room:
    """`look` now and then; it says what changed, and that training waits where that is so."""

    def __init__(
        self,
        config: TrainConfig,
        resources: Callable[[], Mapping[str, float]],
        gpus_per_worker: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._resources, self._gpus, self._say, self._clock = (
            config,
            resources,
            gpus_per_worker,
            say,
            clock,
        )
        self._fitted, self._next = config.workers, clock()

    def look(self) -> None:
        if self._clock() < self._next:
            return
        self._next = self._clock() + SECONDS_BETWEEN_LOOKS
        available = self._resources()
        fits = workers_that_fit(self._config, available, self._gpus)
        if fits != self._fitted:
            self._fitted = fits
            self._say(self._line(fits, available))

    def _line(self, fits: int, available: Mapping[str, float]) -> str:
        wanted, launch = self._config.workers, self._config.launch
        least = launch.minimum_workers or wanted
        has = f"{available.get('CPU', 0):g} CPUs" + (f" and {available.get('GPU', 0):g} GPUs" if self._gpus else "")
        line = f"train: Ray has {has}, room for {fits} of {wanted} workers"
        if fits < least:
            return f"{line}; training waits for room for {least} and goes on from its last checkpoint"
        if fits < wanted:
            return f"{line}; training goes on with {fits} and looks for more every {launch.resize_check_seconds:g} s"
        return f"{line} again"
