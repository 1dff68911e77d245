"""Writing a run's journal (orchestration.journal), one process at a time.

One line is one write; a torn last line, which kill -9 may leave, is cut off by the next writer. The writer holds an advisory lock
(flock), which the kernel drops however the process dies; a journal whose runs have not ended and whose lock is free belongs to
a dead process, and `end_stale_runs` ends it as KILLED.
"""

import contextlib
import fcntl
import json
import math
import os
import platform
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat

from orchestration.journal import Event, Kind, Status, journal_path, journals, last_event, local_root, read
from pipeline.errors import ConfigError, DataError

OTHER_HOST_SILENT_SECONDS = 3600.0
"""A run of another machine counts as dead after this long without a write; its lock may be invisible from here."""


class Journal:
    """The one writer of a run's events; safe for threads, refuses a second process. A context manager that closes it.

    Raises DataError where the folder cannot be written and ConfigError where another process holds the journal.
    """

    def __init__(self, root: str, run_id: str) -> None:
        self.root = local_root(root)
        self.run_id = run_id
        self.path = journal_path(root, run_id)
        self._mutex = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}); choose another --root") from error
        try:
            if not _lock(self._file):
                raise ConfigError(f"{self.path}: another process is writing this run; wait for it or start a new run")
        except Exception:
            os.close(self._file)
            raise
        self.open_runs: list[str] = []
        self._ended_runs: set[str] = set()
        self._sequence, self._time_ms, self._size = 0, 0, 0
        for event in read(self.path):
            self._take(event)
        os.ftruncate(self._file, self._size)

    def run_started(
        self,
        run: str,
        name: str,
        parent: str | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin the run with the local key `run`; the first of a journal is the parent of the others."""
        parent = parent if parent is not None or not self.open_runs else self.open_runs[0]
        body = {"name": name, "parent": parent, "tags": _strings(tags or {}), "params": _strings(params or {})}
        self._append("run_started", run, body | {"host": platform.node(), "pid": os.getpid()})

    def params(self, run: str, params: Mapping[str, Any]) -> None:
        self._append("params", run, {"params": _strings(params)})

    def tags(self, run: str, tags: Mapping[str, Any]) -> None:
        self._append("tags", run, {"tags": _strings(tags)})

    def note(self, run: str, markdown: str) -> None:
        """The text that MLflow shows at the head of the run's page."""
        self.tags(run, {"mlflow.note.content": markdown})

    def metrics(self, run: str, metrics: Mapping[str, SupportsFloat], step: int = 0) -> None:
        """Numbers at `step`, with this moment as their time; nan and infinities are kept."""
        self._append("metrics", run, {"metrics": _numbers(metrics), "step": int(step)})

    def dataset(
        self,
        run: str,
        name: str,
        digest: str,
        source: str,
        profile: Mapping[str, Any] | None = None,
        context: str = "training",
    ) -> None:
        """An input of the run: `digest` is the manifest id, `source` its folder, `profile` its counts."""
        body = {"name": name, "digest": digest, "source": source, "profile": dict(profile or {}), "context": context}
        self._append("dataset", run, body)

    def artifact(self, run: str, path: str, artifact_path: str = "") -> None:
        """A file or folder to show on the run's page, under `artifact_path`; it is read when it is delivered.

        The run may have ended: the report draws a benchmark's plots when the benchmark is long measured.
        """
        self._append("artifact", run, {"path": self._relative(path), "artifact_path": artifact_path})

    def model(
        self,
        run: str,
        name: str,
        folder: str,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, SupportsFloat] | None = None,
        register_as: str | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
        dataset: tuple[str, str] | None = None,
    ) -> None:
        """A checkpoint folder as a logged model, registered as a new version of `register_as`.

        `dataset` is the (name, digest) that `metrics` were measured on.
        """
        self._append(
            "model",
            run,
            {
                "name": name,
                "folder": self._relative(folder),
                "params": _strings(params or {}),
                "metrics": _numbers(metrics or {}),
                "register_as": register_as,
                "tags": _strings(tags or {}),
                "step": int(step),
                "dataset": list(dataset) if dataset else None,
            },
        )

    def run_ended(self, run: str, status: Status = "FINISHED", time_ms: int | None = None) -> None:
        """End the run; `time_ms` where it ended earlier than now."""
        self._append("run_ended", run, {"status": status, "ended_ms": time_ms, "open_runs": len(self.open_runs) - 1})

    def end_open_runs(self, status: Status, time_ms: int | None = None) -> None:
        """End whatever has not ended, children first."""
        for run in reversed(list(self.open_runs)):
            self.run_ended(run, status, time_ms)

    def close(self) -> None:
        with self._mutex:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, kind: Kind, run: str, body: dict[str, Any]) -> None:
        with self._mutex:
            late = kind == "artifact" and run in self._ended_runs
            if not late and (kind == "run_started") == (run in self.open_runs):
                raise ValueError(
                    f"journal: {kind} of run {run!r}, which is {'already' if run in self.open_runs else 'not'} open"
                )
            # A clock set back must not give a later event an earlier time: MLflow orders points of one step by it.
            event = Event(self._sequence + 1, max(self._time_ms, time.time_ns() // 1_000_000), kind, run, body)
            line = _line(event)
            try:
                written = os.write(self._file, line)
                if written != len(line):
                    raise OSError(28, "no space left")
                if kind in ("run_started", "run_ended", "model"):
                    os.fsync(self._file)
            except OSError as error:
                os.ftruncate(self._file, self._size)
                raise DataError(f"{self.path}: cannot be written ({error.strerror}); free space") from error
            self._take(Event(event.sequence, event.time_ms, kind, run, body, self._size + len(line)))

    def _take(self, event: Event) -> None:
        self._sequence, self._time_ms, self._size = event.sequence, event.time_ms, event.end_offset
        if event.kind == "run_started":
            self.open_runs.append(event.run)
        elif event.kind == "run_ended":
            self.open_runs.remove(event.run)
            self._ended_runs.add(event.run)

    def _relative(self, path: str) -> str:
        """Relative to the root where it lies inside, so that a moved root still delivers."""
        absolute = Path(path).resolve()
        return str(absolute.relative_to(self.root)) if absolute.is_relative_to(self.root) else str(absolute)


def end_stale_runs(root: str) -> list[str]:
    """End the runs whose process is gone as KILLED, at the time of their last sign of life; their run ids."""
    ended = []
    for path in journals(root):
        last = last_event(path)
        if last is None or (last.kind == "run_ended" and last.body["open_runs"] == 0) or not _is_dead(path):
            continue
        with contextlib.suppress(ConfigError), Journal(root, path.parent.name) as journal:
            journal.end_open_runs("KILLED", last.time_ms)
            ended.append(path.parent.name)
    return ended


def _is_dead(path: Path) -> bool:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not _lock(file):
            return False
    finally:
        os.close(file)
    first = next(read(path))
    silent = time.time() - path.stat().st_mtime > OTHER_HOST_SILENT_SECONDS
    return first.body.get("host") == platform.node() or silent


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DataError(
            f"flock: {error.strerror}: this file system has no locks; choose a --root on a local disk"
        ) from error
    return True


def _line(event: Event) -> bytes:
    value = {
        "sequence": event.sequence,
        "time_ms": event.time_ms,
        "kind": event.kind,
        "run": event.run,
        "body": event.body,
    }
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    return text.encode("utf-8", "replace") + b"\n"


def _strings(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(key): value if isinstance(value, str) else json.dumps(value, default=str) for key, value in values.items()
    }


def _numbers(values: Mapping[str, SupportsFloat]) -> dict[str, float | str]:
    """JSON has no nan and no infinity: those travel as the words that float() reads."""
    numbers = {str(key): float(value) for key, value in values.items()}
    return {key: value if math.isfinite(value) else str(value) for key, value in numbers.items()}
