"""Bring a journal's events to MLflow, each exactly once, whenever MLflow is there.

At least once, by trying again from a cursor; at most once, because each call is safe to repeat (orchestration.tracking)
and points carry the journal's own times. The cursor (sequence number, local run key -> MLflow run id) is a tag of the
parent run, so it is true of the store it lies in, and a copy beside the journal (delivery.py) tells what waits and
where the run's page is without asking. A `Courier` delivers in the background while the run goes on.
"""

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestration import journal, tracking
from orchestration.delivery import Cursor, Delivery, Target, standing_of, target_of


def deliver(journal_path: Path, tracking_uri: str | None = None, experiment: str | None = None) -> Delivery:
    """Deliver what waits in the journal. Never raises for the tracker's sake: `problem` says why events still wait.

    Without `tracking_uri` and `experiment`: MLFLOW_TRACKING_URI or SQLite in the root, and the experiment that the run's
    courier named, else MLFLOW_EXPERIMENT_NAME or "openwit".
    """
    target = target_of(journal_path, tracking_uri, experiment)
    with _alone(target.path.with_name(".delivery.lock")) as alone:
        if not alone:
            return standing_of(target, "another process is delivering this run")
        walk, problem = _Pass(target), None
        try:
            walk.run()
        except tracking.AwayError as error:
            problem = str(error)
        return standing_of(target, problem, walk.delivered)


class _Pass:
    """One walk over the undelivered events; numbers are gathered into batches, everything else is done at once."""

    def __init__(self, target: Target) -> None:
        self.target, self.path, self.root = target, target.path, target.root
        self.run_id = self.path.parent.name
        self.cursor = Cursor.load(target)
        self.points: dict[str, list[tracking.Point]] = {}
        self.delivered = 0

    def run(self) -> None:
        """Deliver to the journal's end. Raises AwayError; what was delivered before stays so."""
        first = next(journal.read(self.path), None)
        if first is None:
            return
        slug = re.sub(r"[^\w.-]+", "-", self.target.experiment)
        self.tracker = tracking.Tracker(self.target.uri, self.target.experiment, self.root / "mlartifacts" / slug)
        self.root_key = first.run
        self._believe_the_store()
        waiting = None
        for event in journal.read(self.path, self.cursor.offset):
            if event.sequence <= self.cursor.sequence:
                self.cursor.offset = event.end_offset
                continue
            waiting = event
            if event.kind == "metrics":
                points = self.points.setdefault(event.run, [])
                for key, value in event.body["metrics"].items():
                    points.append(tracking.Point(key, float(value), event.time_ms, event.body["step"]))
                if len(points) < tracking.METRICS_PER_BATCH:
                    continue
            self._flush()
            if event.kind != "metrics":
                self._deliver(event)
            self._advance(event)
            waiting = None
        if waiting is not None:
            self._flush()
            self._advance(waiting)
        if self.delivered:
            self._tell_the_store()
        self.cursor.save(self.target)

    def _believe_the_store(self) -> None:
        """Take the cursor from the parent run's tag: a database that was removed or restored knows what it holds."""
        known = self.cursor.runs.get(self.root_key)
        tags: Mapping[str, str] | None = None
        if known is not None and self.cursor.experiment_id == self.tracker.experiment_id:
            try:
                tags = self.tracker.run_tags(known)
            except tracking.RefusedError:
                known = None
        if tags is None:
            # Of twins (a create that timed out and was done all the same) the one with a cursor is the run.
            twins = self.tracker.find_runs(self.run_id).get(self.root_key, [])
            known, tags = max(twins, key=lambda twin: tracking.DELIVERED in twin[1], default=(None, {}))
        told = json.loads(tags.get(tracking.DELIVERED, "{}"))
        if told.get("sequence") != self.cursor.sequence or known != self.cursor.runs.get(self.root_key):
            runs = told.get("runs", {}) | ({self.root_key: known} if known else {})
            self.cursor = Cursor(sequence=told.get("sequence", 0), runs=runs)
        self.cursor.experiment_id = self.tracker.experiment_id

    def _tell_the_store(self) -> None:
        told = {"sequence": self.cursor.sequence, "runs": self.cursor.runs}
        self.tracker.log_tags(self.cursor.runs[self.root_key], {tracking.DELIVERED: json.dumps(told)})

    def _advance(self, event: journal.Event) -> None:
        self.delivered += event.sequence - self.cursor.sequence
        self.cursor.sequence, self.cursor.offset = event.sequence, event.end_offset
        self.cursor.save(self.target)

    def _flush(self) -> None:
        for run, points in self.points.items():
            for start in range(0, len(points), tracking.METRICS_PER_BATCH):
                batch = points[start : start + tracking.METRICS_PER_BATCH]
                self.cursor.refused += self.tracker.log_points(self.cursor.runs[run], batch)
        self.points.clear()

    def _deliver(self, event: journal.Event) -> None:
        try:
            self.cursor.refused += getattr(self, f"_{event.kind}")(event, event.body)
        except tracking.RefusedError as error:
            if event.kind == "run_started":
                raise tracking.AwayError(str(error)) from error
            self.cursor.refused.append(f"{event.kind} of {event.run}: {error}")

    def _run_started(self, event: journal.Event, body: Mapping[str, Any]) -> list[str]:
        found = self.tracker.find_runs(self.run_id).get(event.run)
        if found:
            self.cursor.runs[event.run] = found[0][0]
        else:
            tags = dict(body["tags"]) | {tracking.RUN_ID: self.run_id, tracking.RUN_KEY: event.run}
            parent = self.cursor.runs[body["parent"]] if body["parent"] else None
            self.cursor.runs[event.run] = self.tracker.create_run(body["name"], event.time_ms, tags, parent)
        return self._params(event, body)

    def _params(self, event: journal.Event, body: Mapping[str, Any]) -> list[str]:
        return self.tracker.log_params(self.cursor.runs[event.run], body["params"])

    def _tags(self, event: journal.Event, body: Mapping[str, Any]) -> list[str]:
        return self.tracker.log_tags(self.cursor.runs[event.run], body["tags"])

    def _dataset(self, event: journal.Event, body: Mapping[str, Any]) -> list[str]:
        self.tracker.log_dataset(self.cursor.runs[event.run], **body)
        return []

    def _artifact(self, event: journal.Event, body: Mapping[str, Any]) -> list[str]:
        path = self.root / body["path"]
        if not path.exists():
            return [f"artifact {path}: no longer there"]
        self.tracker.log_artifact(self.cursor.runs[event.run], path, body["artifact_path"])
        return []

    def _model(self, event: journal.Event, body: Mapping[str, Any]) -> list[str]:
        folder = self.root / body["folder"]
        if not folder.is_dir():
            return [f"model {folder}: no longer there"]
        key = f"{self.run_id}/{event.run}/{event.sequence}"
        self.tracker.log_model(self.cursor.runs[event.run], key, folder, body, event.time_ms)
        return []

    def _run_ended(self, event: journal.Event, body: Mapping[str, Any]) -> list[str]:
        self.tracker.end_run(self.cursor.runs[event.run], body["status"], body["ended_ms"] or event.time_ms)
        if body["open_runs"] == 0:
            for key, twins in self.tracker.find_runs(self.run_id).items():
                for twin, _ in twins:
                    if twin != self.cursor.runs[key]:
                        self.tracker.delete_run(twin)
        return []


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class Courier:
    """Delivers a journal every few seconds from a daemon thread; a dead or hanging tracker costs the run nothing."""

    def __init__(
        self,
        journal_path: Path,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        every_seconds: float = 5.0,
    ) -> None:
        self._target = target_of(journal_path, tracking_uri, experiment)
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._last = Delivery(0, 0)
        self._thread = threading.Thread(target=self._work, name="openwit-courier", daemon=True)

    def start(self) -> "Courier":
        Cursor.load(self._target).save(self._target)  # so that a later `deliver` goes to the same experiment
        self._thread.start()
        return self

    def stop(self, timeout_seconds: float = 30.0) -> Delivery:
        """One last try, for at most `timeout_seconds`; `waiting` counts the events a later `deliver` will bring."""
        self._stopping.set()
        self._thread.join(timeout_seconds)
        now = standing_of(self._target, None)
        problem = (
            f"the tracker did not answer within {timeout_seconds:g} s"
            if self._thread.is_alive()
            else self._last.problem
        )
        return Delivery(now.delivered, now.waiting, now.refused, problem, now.experiment_id, now.runs)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(self._every_seconds)
            os.utime(self._target.path)  # a sign of life for other machines (journal_writer.end_stale_runs)
            try:
                self._last = deliver(self._target.path, self._target.uri, self._target.experiment)
            except Exception as error:
                # The thread outlives any fault of ours too: the journal keeps everything, and stop() tells.
                self._last = Delivery(0, 0, problem=f"{type(error).__name__}: {error}")

    def __enter__(self) -> "Courier":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
