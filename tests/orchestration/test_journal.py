"""The journal keeps every whole event, whatever ends its writer."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestration import journal, journal_writer
from orchestration.journal import last_event, new_run_id, read
from orchestration.journal_writer import Journal, end_stale_runs
from pipeline.errors import ConfigError, DataError

WRITER = """
import sys
from orchestration.journal_writer import Journal
writer = Journal(sys.argv[1], "one")
writer.run_started("demo", "demo")
writer.run_started("train", "train")
print("started", flush=True)
step = 0
while True:
    writer.metrics("train", {"loss": 1.0}, step)
    step += 1
"""


def start_writer(root: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    return process


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    with Journal(str(tmp_path), "one") as writer:
        writer.run_started("demo", "the demo", tags={"seed": 7}, params={"rate": 1e-3, "name": "x", "on": True})
        writer.run_started("train", "training")
        writer.metrics("train", {"loss": 0.5, "odd": math.nan, "far": -math.inf}, step=3)
        writer.dataset("train", "demo", "ab" * 32, "/data", {"rows": 3})
        writer.artifact("demo", str(tmp_path / "step" / "report.html"))
        writer.model("train", "clip", "/elsewhere/checkpoint", metrics={"top1": 0.9}, register_as="demo")
        writer.note("demo", "# done")
        writer.run_ended("train")
        writer.run_ended("demo", "FAILED")
    events = list(read(writer.path))
    assert [event.sequence for event in events] == list(range(1, 10))
    assert [event.time_ms for event in events] == sorted(event.time_ms for event in events)
    assert [event.kind for event in events][:3] == ["run_started", "run_started", "metrics"]
    assert events[0].body["params"] == {"rate": "0.001", "name": "x", "on": "true"}
    assert events[1].body["parent"] == "demo"
    values = {key: float(value) for key, value in events[2].body["metrics"].items()}
    assert values["loss"] == 0.5
    assert math.isnan(values["odd"])
    assert values["far"] == -math.inf
    assert events[4].body["path"] == "step/report.html"
    assert events[5].body["folder"] == "/elsewhere/checkpoint"
    assert last_event(writer.path) == events[-1]
    assert list(read(writer.path, events[3].end_offset)) == events[4:]
    for line in writer.path.read_bytes().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_torn_last_line_is_not_read_and_the_next_writer_cuts_it_off(tmp_path: Path) -> None:
    with Journal(str(tmp_path), "one") as writer:
        writer.run_started("demo", "demo")
        writer.metrics("demo", {"loss": 1.0}, 1)
    whole = writer.path.read_bytes()
    for torn in (b'{"sequence":3,"ti', b"\0" * 40 + b"\n", b'{"sequence":3}\n'):
        writer.path.write_bytes(whole + torn)
        assert [event.sequence for event in read(writer.path)] == [1, 2]
        last = last_event(writer.path)
        assert last is not None
        assert last.sequence == 2
        with Journal(str(tmp_path), "one") as again:
            assert again.path.read_bytes() == whole
            assert again.open_runs == ["demo"]
            again.metrics("demo", {"loss": 2.0}, 2)
        assert [event.sequence for event in read(writer.path)] == [1, 2, 3]


def test_a_broken_line_in_the_middle_is_an_error_and_not_skipped(tmp_path: Path) -> None:
    with Journal(str(tmp_path), "one") as writer:
        writer.run_started("demo", "demo")
    writer.path.write_bytes(b"hand-made\n" + writer.path.read_bytes())
    with pytest.raises(DataError, match="changed by hand"):
        list(read(writer.path))


def test_kill_9_loses_no_whole_event_and_the_next_start_ends_the_run_as_killed(tmp_path: Path) -> None:
    process = start_writer(tmp_path)
    path = journal.journal_path(str(tmp_path), "one")
    while path.stat().st_size < 100_000:
        pass
    assert end_stale_runs(str(tmp_path)) == []
    process.kill()
    process.wait()
    written = list(read(path))
    assert [event.sequence for event in written] == list(range(1, len(written) + 1))
    assert [event.body["step"] for event in written[2:]] == list(range(len(written) - 2))

    assert end_stale_runs(str(tmp_path)) == ["one"]
    ended = list(read(path))[len(written) :]
    assert [(event.run, event.body["status"]) for event in ended] == [("train", "KILLED"), ("demo", "KILLED")]
    assert all(event.body["ended_ms"] == written[-1].time_ms for event in ended)
    assert end_stale_runs(str(tmp_path)) == []


def test_a_running_or_foreign_run_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(str(tmp_path), "one") as writer:
        writer.run_started("demo", "demo")
        assert end_stale_runs(str(tmp_path)) == []
        with pytest.raises(ConfigError, match="another process is writing"):
            Journal(str(tmp_path), "one")
    monkeypatch.setattr(journal_writer.platform, "node", lambda: "another-machine")
    assert end_stale_runs(str(tmp_path)) == []
    os.utime(writer.path, (0, 0))
    assert end_stale_runs(str(tmp_path)) == ["one"]


def test_threads_share_a_journal_without_gaps(tmp_path: Path) -> None:
    with Journal(str(tmp_path), "one") as writer:
        writer.run_started("demo", "demo")

        def write(name: str) -> None:
            for step in range(200):
                writer.metrics("demo", {name: step}, step)

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = list(read(writer.path))
    assert [event.sequence for event in events] == list(range(1, 802))
    for name in "abcd":
        assert [e.body["step"] for e in events[1:] if name in e.body["metrics"]] == list(range(200))


def test_a_full_disk_tears_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Journal(str(tmp_path), "one") as writer:
        writer.run_started("demo", "demo")
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
            with pytest.raises(DataError, match="free space"):
                _write_points(writer, 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        writer.run_ended("demo")
    events = list(read(writer.path))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].kind == "run_ended"


def _write_points(writer: Journal, count: int) -> None:
    for step in range(count):
        writer.metrics("demo", {"loss": 1.0}, step)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another --root"):
        Journal(str(tmp_path / "file"), "one")
    with pytest.raises(ConfigError, match="local folder"):
        Journal("s3://bucket/runs", "one")


def test_runs_are_listed_by_the_time_they_began(tmp_path: Path) -> None:
    for name in ("zebra", "apple"):
        with Journal(str(tmp_path), new_run_id(name)) as writer:
            writer.run_started(name, name)
        time.sleep(0.005)
    Journal(str(tmp_path), "empty").close()
    assert [path.parent.name.split("-")[0] for path in journal.journals(str(tmp_path))] == ["zebra", "apple"]
