"""What a step works in: the cluster, the demo web and the places that hear of it, opened when they are first asked for."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.memory import PeakMemory
from orchestration.narrator import Narrator
from orchestration.progress import say
from orchestration.recipe import Recipe
from orchestration.step import StepRecord
from orchestration.training_rows import evaluation_note, train_note
from pipeline import storage
from pipeline.errors import DataError
from pipeline.execution.arenas import give_back
from pipeline.execution.executor import Executor, InProcess
from pipeline.execution.on_processes import Processes
from pipeline.execution.progress import Progress


@contextlib.contextmanager
def only_one(root: str, path: str) -> Iterator[str]:
    """One process works on a step's folder at a time; the lock goes with the process, however it ends."""
    locks = Path(root) / ".locks"
    locks.mkdir(exist_ok=True)
    with open(locks / os.path.basename(path), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{path}: another run is making this step; wait for it to end, then run again") from None
        yield path


class Work:
    """The Context that steps work in: opens Ray and the demo web when they are first asked for, closes them at the end."""

    def __init__(
        self,
        recipe: Recipe,
        root: str,
        progress: Progress,
        narrator: Narrator | None,
        run_id: str,
        memory: PeakMemory | None,
        executor: str,
        stack: contextlib.ExitStack,
    ) -> None:
        self.progress = progress
        self.run_id = run_id
        self._memory = memory
        self.records: dict[str, StepRecord] = {}
        self._recipe, self._root, self._narrator, self._stack = recipe, root, narrator, stack
        self._kind = executor
        self._processes: Processes | None = None
        self._on_ray: Any = None
        self._connected = self._is_ours = False
        self._hosts: Mapping[str, str] | None = None
        self._measured = ""
        self._failed_snapshots = 0

    @property
    def peak_memory_bytes(self) -> int:
        return self._memory.peak_bytes if self._memory else 0

    def connect(self) -> None:
        """Join or start Ray for work of another kind than curation, whose workers end."""
        for workers in (self._on_ray, self._processes):
            if workers is not None:
                workers.close()
        give_back()
        self._join()

    def _join(self) -> None:
        if not self._connected:
            from orchestration.cluster import connected

            workers = self._recipe.curate.workers if self._recipe.curate else None
            self._is_ours = self._stack.enter_context(connected(workers))
            self._connected = True

    def executor(self) -> Executor:
        if self._kind == "in-process":
            return InProcess()
        if self._kind == "processes":
            if self._processes is None:
                self._processes = Processes(self._recipe.curate.workers if self._recipe.curate else None)
                self._stack.callback(self._processes.close)
            return self._processes
        from pipeline.execution.on_ray import Crew, OnRay

        self._join()
        if self._on_ray is None:
            assert self._recipe.curate is not None
            kind = Crew if self._is_ours else OnRay
            self._on_ray = kind(self._recipe.curate.cpus_per_item, self._recipe.curate.workers)
        executor: Executor = self._on_ray
        return executor

    def hosts(self) -> Mapping[str, str]:
        """The demo web's host names and where they are served; {} without a demo web."""
        if self._recipe.web is None:
            return {}
        if self._hosts is None:
            from pipeline.demo.server import serving

            folder = self.records["web"].path
            port = self._stack.enter_context(serving(folder))
            names = storage.read_json(storage.join(folder, "site.json"))["hosts"]
            self._hosts = dict.fromkeys(names, f"127.0.0.1:{port}")
        return self._hosts

    def on_train_step(self, row: Mapping[str, Any]) -> None:
        if self._narrator:
            self._narrator.train_step(row)
        failed = int(row.get("measured", {}).get("failed_snapshots", 0))
        if failed > self._failed_snapshots:
            say(self.progress, "train: a snapshot could not be written and is not measured; is there room on the disk?")
        self._failed_snapshots = failed
        note = train_note(row) + (f"; {self._measured}" if self._measured else "")
        self.progress(int(row["step"]), int(row["total_steps"]), f"train: {note}")

    def on_evaluation(self, row: Mapping[str, Any]) -> None:
        """A snapshot was measured while training goes on."""
        if self._narrator:
            self._narrator.evaluation(row)
        self._measured = evaluation_note(row)
        if "error" in row:
            say(self.progress, f"train: {self._measured}")
