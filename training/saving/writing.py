"""Writing a checkpoint while training goes on: one thread, one checkpoint at a time.

Every rank writes its own part; the first rank waits until the parts of all lie in the folder, then seals it. Parts are seen
through the file system, not through a collective: a collective in a second thread would mix with training's own.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import DataError
from training.saving.parts import Part, file_names, write_part

SECONDS_BETWEEN_LOOKS = 0.02
SLOWEST_LOOK = 1.0
SECONDS_FOR_OTHERS = 20.0


class Writer:
    """Of one rank."""

    def __init__(self, rank: int, ranks: int) -> None:
        self._rank, self._ranks = rank, ranks
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self.seconds = 0.0
        """What the last write took."""

    def start(self, folder: Path, part: Part, seal: Callable[[], None] | None) -> None:
        """Write `part` to `folder`; then, where `seal` is given, wait for the parts of the others and call it."""
        assert self._thread is None

        def work() -> None:
            begun = time.monotonic()
            try:
                write_part(folder, self._rank, part)
                if seal is not None and self._all_there(folder):
                    seal()
            except BaseException as error:  # whatever it is, it is raised in the training thread
                self._error = error
            self.seconds = time.monotonic() - begun

        self._thread = threading.Thread(target=work, name="checkpoint", daemon=True)
        self._thread.start()

    def _all_there(self, folder: Path) -> bool:
        pause = SECONDS_BETWEEN_LOOKS
        for rank in range(self._ranks):
            while not (folder / file_names(rank)[1]).exists():
                if self._stop.wait(pause):
                    return False
                pause = min(SLOWEST_LOOK, 1.5 * pause)
        return True

    @property
    def error(self) -> str | None:
        """One line about the write that failed, for the run to end with."""
        if self._error is None:
            return None
        if isinstance(self._error, OSError):
            return f"cannot be written ({self._error.strerror or self._error})"
        if isinstance(self._error, DataError):
            return str(self._error)
        raise self._error

    def wait(self) -> None:
        """Until the write in hand is over, well or badly."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Finish what is being written; stop waiting for ranks that do not come any more."""
        if self._thread is not None:
            self._thread.join(SECONDS_FOR_OTHERS)
        self._stop.set()
        self.wait()
