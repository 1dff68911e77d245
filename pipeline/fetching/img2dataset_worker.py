"""The process that img2dataset runs in: started at the first shard, kept for the next ones, replaced when it dies or hangs."""

import atexit
import contextlib
import functools
import json
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.execution.sandbox import child_environment

START_SECONDS = 180.0


class LostShardError(Exception):
    """img2dataset left no complete shard; the message says what is missing, the same in every run."""


class HungError(LostShardError):
    """It did not end in time."""


class Img2datasetWorker:
    """`ask(folder)` has the child `module` make the shard of `folder`."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, folder: Path, seconds: float) -> dict[str, Any]:
        """{"done", "said"}. Raises LostShardError when the child dies or hangs, DataError when it cannot start."""
        child = self._child
        if child is None or child.poll() is not None:
            child = self._start()
        assert child.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            return self._line(child, seconds)
        except LostShardError:
            self.close()
            raise

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        self.close()
        self._child = child = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=child_environment(),
        )
        try:
            ready = self._line(child, START_SECONDS)
        except LostShardError as error:
            ready = {"error": str(error)}
        if "error" in ready:
            self.close()
            hint = "pip install img2dataset, or engine: openwit"
            raise DataError(f"engine img2dataset cannot start: {str(ready['error'])[:300]}; {hint}")
        return child

    def _line(self, child: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
        assert child.stdout is not None
        deadline, got = time.monotonic() + seconds, b""
        while not got.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([child.stdout], [], [], left)[0]:
                raise HungError(f"over {seconds:g} s")
            part = child.stdout.read(65536)
            if not part:
                code = child.wait()
                raise LostShardError(
                    f"it ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"
                )
            got += part
        answer: dict[str, Any] = json.loads(got)
        return answer


@functools.cache
def worker(module: str, process_id: int) -> Img2datasetWorker:
    """This process's one worker; `process_id` keeps a forked child from using its parent's."""
    made = Img2datasetWorker(module)
    atexit.register(made.close)
    return made
