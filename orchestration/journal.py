"""The journal of a run: an append-only file of events, written first and delivered to MLflow later (orchestration.deliver).

    <root>/runs/<run id>/journal.jsonl      one JSON object per line:
    {"sequence": 7, "time_ms": 1767225600000, "kind": "metrics", "run": "train", "body": {"metrics": {"loss": 2.3}, "step": 40}}

A tracker may be slow, absent or restarted; a write-ahead log on local disk (the ARIES rule: log first) makes the run
independent of it. One line is one write, so kill -9 leaves at most a torn last line: readers stop before it. Here are the places
and the reading; orchestration.journal_writer writes.
"""

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline import storage
from pipeline.errors import ConfigError, DataError

NAME = "journal.jsonl"
Kind = Literal["run_started", "params", "tags", "metrics", "dataset", "artifact", "model", "run_ended"]
Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Event:
    """One line. `run` is the local key of the run it belongs to ("demo", "train"); `end_offset` is the byte after its line."""

    sequence: int
    time_ms: int
    kind: Kind
    run: str
    body: Mapping[str, Any]
    end_offset: int = 0


def new_run_id(name: str) -> str:
    """`name-20260131-235959-a1b2`: sorts by time, in UTC."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    return f"{safe}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def local_root(root: str) -> Path:
    """`root` as a local folder. Raises ConfigError for a remote one: an append needs a file system."""
    if not storage.is_local(root):
        raise ConfigError(f"root {root!r}: a run's journal needs a local folder; choose a local --root")
    return Path(root.removeprefix("file://")).resolve()


def journal_path(root: str, run_id: str) -> Path:
    return local_root(root) / "runs" / run_id / NAME


def journals(root: str) -> list[Path]:
    """Every journal under `root` that has an event, the newest run last."""
    started = []
    for path in (local_root(root) / "runs").glob(f"*/{NAME}"):
        if (first := next(read(path), None)) is not None:
            started.append((first.time_ms, str(path), path))
    return [path for *_, path in sorted(started)]


def read(path: Path, offset: int = 0) -> Iterator[Event]:
    """Events from byte `offset` on, without a torn last line. Raises DataError for a broken line in the middle."""
    with open(path, "rb") as file:
        file.seek(offset)
        broken = False
        for line in file:
            if broken:
                raise DataError(f"{path}: byte {offset} is no event but others follow; the file was changed by hand")
            event = _parse(line, offset + len(line))
            if event is None:
                broken = True
                continue
            offset += len(line)
            yield event


def _parse(line: bytes, end_offset: int) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
        return Event(value["sequence"], value["time_ms"], value["kind"], value["run"], value["body"], end_offset)
    except (ValueError, KeyError, TypeError):
        return None


def last_event(path: Path, tail_bytes: int = 1 << 16) -> Event | None:
    """The last whole event, read from the file's tail. None where there is none."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        while True:
            start = max(0, size - tail_bytes)
            file.seek(start)
            for line in reversed(file.read(size - start).splitlines(keepends=True)):
                if (event := _parse(line, size)) is not None:
                    return event
            if start == 0:
                return None
            tail_bytes *= 8
