"""What a run wrote reaches MLflow once, whatever happens to MLflow or to us on the way."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestration import delivery, tracking
from orchestration.deliver import Courier, deliver
from orchestration.delivery import Delivery, standing
from orchestration.journal import journals, read
from orchestration.journal_writer import Journal, end_stale_runs
from orchestration.ui import serving
from pipeline import storage

MANIFEST_ID = storage.sha256(b"a manifest")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables; making them takes seconds, copying does not."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    tracking.Tracker(f"sqlite:///{path}", "openwit", path.parent / "mlartifacts" / "openwit")
    return path


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "root"
    folder.mkdir()
    copy_store(empty_store, folder)
    return folder


def copy_store(empty: Path, root: Path) -> None:
    """The experiment's artifacts would lie where the empty store was made, so it is made anew."""
    shutil.copy(empty, root / "mlflow.db")
    import sqlite3

    with sqlite3.connect(root / "mlflow.db") as database:
        database.execute("DELETE FROM experiment_tags")
        database.execute("DELETE FROM experiments WHERE name = 'openwit'")


def write_run(root: Path, steps: int = 20, run_id: str = "one") -> Journal:
    """A small recipe's journal: a parent, a training step with its curve, and everything that MLflow can show."""
    checkpoint = root / "train-0123" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (checkpoint / "checkpoint.json").write_text('{"step": 20}')
    (root / "report.html").write_text("<!doctype html><h1>report</h1>")
    writer = Journal(str(root), run_id)
    writer.run_started("demo", "demo", tags={"openwit.recipe": "demo"}, params={"name": "demo"})
    writer.run_started("train", "train", params={"train.learning_rate": 1e-3})
    writer.dataset("train", "demo", MANIFEST_ID, str(root / "pack-0123"), {"rows": 3204})
    for step in range(1, steps + 1):
        writer.metrics("train", {"loss": 1 / step, "learning_rate": 1e-3}, step)
    writer.model(
        "train",
        "demo clip",
        str(checkpoint),
        params={"width": 64},
        metrics={"digits_top1": 0.93},
        register_as="demo-clip",
        tags={"openwit.checkpoint": "c" * 64, "openwit.manifest_id": MANIFEST_ID},
        step=steps,
        dataset=("demo", MANIFEST_ID),
    )
    writer.artifact("demo", str(root / "report.html"))
    writer.note("demo", "# demo\n93 %")
    writer.run_ended("train")
    writer.run_ended("demo")
    writer.close()
    return writer


def client(root: Path) -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{root}/mlflow.db"
    return MlflowClient(uri, registry_uri=uri)


def curve(root: Path, mlflow_id: str, key: str = "loss") -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client(root).get_metric_history(mlflow_id, key))


def contents(root: Path) -> dict[str, Any]:
    """Everything of the experiment that a repeated delivery could double."""
    store = client(root)
    experiment = store.get_experiment_by_name("openwit").experiment_id
    runs = store.search_runs([experiment])
    return {
        "runs": sorted((run.info.run_name, run.info.status) for run in runs),
        "points": sorted(
            (run.info.run_name, key, point.step, point.value, point.timestamp)
            for run in runs
            for key in run.data.metrics
            for point in store.get_metric_history(run.info.run_id, key)
        ),
        "datasets": sorted((run.info.run_name, len(run.inputs.dataset_inputs)) for run in runs),
        "outputs": sorted((run.info.run_name, len(run.outputs.model_outputs)) for run in runs if run.outputs),
        "models": sorted(model.name for model in store.search_logged_models([experiment])),
        "versions": sorted(version.version for version in store.search_model_versions("name = 'demo-clip'")),
        "artifacts": sorted(
            (run.info.run_name, file.path) for run in runs for file in store.list_artifacts(run.info.run_id)
        ),
    }


def test_each_benchmarks_pictures_are_on_its_own_run(root: Path) -> None:
    from evaluation.report import OUTCOMES, Report, Score
    from orchestration.gather import write_report
    from orchestration.narrator import Narrator
    from orchestration.recipe import load
    from orchestration.step import Step, StepRecord

    tasks = ("digits", "scenes", "eurosat@clip-paper")
    scores = tuple(Score(task, "zero_shot", "top1", "ensemble", 0.5, 0.4, 0.6, 100) for task in tasks)
    search = [{"penalty": 10.0**at, "validation": 0.5 + at / 10} for at in range(3)]
    details: dict[str, dict[str, Any]] = {
        task: {"linear_probe": {"search": search, "penalty": 100.0}} for task in tasks
    }
    details["digits"]["zero_shot"] = {"classes": ["a", "b"], "confusion": [[4, 1], [2, 3]]}
    made = Report(
        "c" * 64, {"metrics": dict.fromkeys(tasks, "top1")}, {"prompts": {}}, scores, OUTCOMES.empty_table(), details
    )
    folders = {name: root / name for name in ("evaluate-1", "report-1")}
    made.save(str(folders["evaluate-1"]))
    record = StepRecord("evaluate", str(folders["evaluate-1"]), {}, "code", {}, made.id, 1.0, {})
    recipe, records = load("demo"), {"evaluate": record}
    write_report(recipe, records, "one", 0, str(folders["report-1"]))
    records["report"] = StepRecord("report", str(folders["report-1"]), {}, "code", {}, "r", 1.0, {})
    with Journal(str(root), "one") as journal:
        narrator = Narrator(journal, recipe, str(root))
        step = Step("evaluate", {}, "evaluation.run", (), lambda *_: None, "measures")  # type: ignore[arg-type]
        narrator.step_started(step, "done")
        narrator.step_ended(step, record)
        narrator.finished(records, 0)
    outcome, store = deliver(journal.path), client(root)

    def pictures(run: str) -> set[str]:
        found = store.list_artifacts(outcome.runs[run], "pictures")
        return {Path(file.path).name for file in found}

    drawn = {task: pictures(f"evaluate/{task}") for task in tasks}
    assert {"penalties.png", "intervals.png"} <= drawn["scenes"] & drawn["eurosat@clip-paper"]
    assert drawn["digits"] - drawn["scenes"] == {"confusion-digits-zero-shot.png"}
    assert "confusion-digits-zero-shot.png" not in pictures(recipe.name)
    assert {"penalties.png", "intervals.png"} <= pictures(recipe.name)  # of all benchmarks together


def test_a_run_becomes_a_page_with_everything_on_it(root: Path) -> None:
    path = write_run(root).path
    events = list(read(path))
    outcome = deliver(path)
    assert (outcome.delivered, outcome.waiting, outcome.refused, outcome.problem) == (len(events), 0, (), None)

    store = client(root)
    parent, train = (store.get_run(outcome.runs[key]) for key in ("demo", "train"))
    assert parent.info.run_name == "demo"
    assert parent.info.start_time == events[0].time_ms
    assert parent.info.end_time == events[-1].time_ms
    assert {parent.info.status, train.info.status} == {"FINISHED"}
    assert parent.data.tags["mlflow.note.content"] == "# demo\n93 %"
    assert parent.data.tags["openwit.recipe"] == "demo"
    assert train.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert train.data.params == {"train.learning_rate": "0.001"}
    assert curve(root, train.info.run_id) == [(step, 1 / step) for step in range(1, 21)]

    (used,) = train.inputs.dataset_inputs
    assert used.dataset.digest == MANIFEST_ID[:32]
    assert json.loads(used.dataset.profile) == {"rows": 3204, "manifest_id": MANIFEST_ID}
    assert {tag.key: tag.value for tag in used.tags} == {
        "mlflow.data.context": "training",
        "openwit.manifest_id": MANIFEST_ID,
    }
    (made,) = train.outputs.model_outputs
    model = store.get_logged_model(made.model_id)
    assert (str(model.status), model.name, model.params) == ("READY", "demo clip", {"width": "64"})
    assert [(m.key, m.value, m.dataset_digest) for m in model.metrics] == [("digits_top1", 0.93, MANIFEST_ID[:32])]
    names = {file.path for file in store.list_logged_model_artifacts(made.model_id)}
    assert names == {"MLmodel", "checkpoint.json", "model.safetensors"}
    (version,) = store.search_model_versions("name = 'demo-clip'")
    assert version.run_id == train.info.run_id
    assert version.tags["openwit.manifest_id"] == MANIFEST_ID
    assert [file.path for file in store.list_artifacts(parent.info.run_id)] == ["report.html"]
    assert (root / "mlartifacts" / "openwit" / parent.info.run_id / "artifacts" / "report.html").exists()
    assert outcome.page("train") == (
        f"/#/experiments/{outcome.experiment_id}/runs/{train.info.run_id}?workflowType=machine_learning"
    )


def test_delivering_again_changes_nothing_even_without_any_cursor(root: Path) -> None:
    path = write_run(root).path
    outcome = deliver(path)
    before = contents(root)
    assert deliver(path).delivered == 0

    path.with_name(delivery.CURSOR).unlink()
    assert standing(path).waiting == outcome.delivered
    again = deliver(path)
    assert (again.delivered, again.waiting, again.runs) == (0, 0, outcome.runs)

    path.with_name(delivery.CURSOR).unlink()
    client(root).delete_tag(outcome.runs["demo"], tracking.DELIVERED)
    again = deliver(path)
    assert (again.delivered, again.waiting, again.runs) == (outcome.delivered, 0, outcome.runs)
    assert contents(root) == before


class Crash(BaseException):
    """As far as the code under test can tell, kill -9."""


def test_a_crash_after_any_call_doubles_nothing_and_loses_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt dies right after one more successful call to MLflow, before the cursor could be written."""
    path = write_run(root, steps=3).path
    every = {
        "create_run",
        "log_points",
        "log_params",
        "log_tags",
        "log_dataset",
        "log_artifact",
        "log_model",
        "end_run",
    }
    allowed = 0
    made: list[str] = []

    class Mortal(tracking.Tracker):
        def __getattribute__(self, name: str) -> Any:
            method = super().__getattribute__(name)
            if name not in every:
                return method

            def call(*arguments: Any, **named: Any) -> Any:
                result = method(*arguments, **named)
                made.append(name)
                if len(made) > allowed:
                    raise Crash
                return result

            return call

    monkeypatch.setattr(tracking, "Tracker", Mortal)
    attempts = 0
    while True:
        attempts += 1
        made.clear()
        try:
            outcome = deliver(path)
            break
        except Crash:
            allowed += 1
    assert attempts > len(every)
    assert outcome.waiting == 0
    monkeypatch.undo()

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    shutil.copytree(path.parent, undisturbed / "runs" / "one")
    (undisturbed / "runs" / "one" / delivery.CURSOR).unlink()
    for name in ("train-0123", "report.html"):
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, undisturbed / name)
    deliver(undisturbed / "runs" / "one" / "journal.jsonl")
    assert contents(root) == contents(undisturbed)


def test_a_deliverer_killed_half_way_is_gone_on_from(root: Path) -> None:
    with Journal(str(root), "one") as writer:
        writer.run_started("demo", "demo")
        for step in range(6_000):
            writer.metrics("demo", {"loss": step}, step)
        writer.run_ended("demo")
    code = "import sys; from pathlib import Path; from orchestration.deliver import deliver; deliver(Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(writer.path)])
    while process.poll() is None and not 0 < _sequence(writer.path) < 5_000:
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < _sequence(writer.path) < 6_002
    outcome = deliver(writer.path)
    assert outcome.waiting == 0
    assert curve(root, outcome.runs["demo"]) == [(step, float(step)) for step in range(6_000)]


def _sequence(path: Path) -> int:
    stores = (
        json.loads(path.with_name(delivery.CURSOR).read_text())["stores"]
        if path.with_name(delivery.CURSOR).exists()
        else {}
    )
    return max((cursor["sequence"] for cursor in stores.values()), default=0)


def test_what_mlflow_refuses_is_named_and_does_not_hold_up_the_rest(root: Path) -> None:
    with Journal(str(root), "one") as writer:
        writer.run_started("demo", "demo", params={"rate": 1, "long": "x" * 9000, "odd (key) é!": 1})
        writer.params("demo", {"rate": 2, "other": 3})
        writer.artifact("demo", str(root / "vanished.html"))
        writer.metrics("demo", {"loss": math.nan, "speed": math.inf, "odd (key) é!": 1.0}, 1)
        writer.tags("demo", {"mlflow.note.content": "y" * 9000})
        writer.run_ended("demo", "FAILED")
    outcome = deliver(writer.path)
    assert outcome.waiting == 0
    assert len(outcome.refused) == 2
    assert outcome.refused[0].startswith("param rate: Changing param values is not allowed")
    assert outcome.refused[1].endswith("vanished.html: no longer there")
    run = client(root).get_run(outcome.runs["demo"])
    assert run.info.status == "FAILED"
    assert run.data.params["rate"] == "1"
    assert run.data.params["other"] == "3"
    assert len(run.data.params["long"]) == 6000
    assert "odd _key_ é_" in run.data.params
    assert math.isnan(run.data.metrics["loss"])
    assert run.data.metrics["speed"] > 1e308
    assert len(run.data.tags["mlflow.note.content"]) == 8000


def test_a_removed_database_is_filled_anew(root: Path, empty_store: Path) -> None:
    path = write_run(root).path
    first = deliver(path)
    before = contents(root)
    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlartifacts")
    copy_store(empty_store, root)
    # MLflow keeps its connections to an address for the life of a process; a new process has none.
    for keeper in (client(root)._tracking_client, client(root)._get_registry_client()):
        keeper.store.engine.dispose()
    again = deliver(path)
    assert (again.delivered, again.waiting) == (first.delivered, 0)
    assert contents(root) == before


def test_a_killed_run_is_ended_as_killed_at_the_next_start(root: Path) -> None:
    code = (
        "import os, sys; from orchestration.journal_writer import Journal; j = Journal(sys.argv[1], 'one');"
        "j.run_started('demo', 'demo'); j.run_started('train', 'train'); j.metrics('train', {'loss': 1}, 1);"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)]).returncode == -9
    (path,) = journals(str(root))
    running = deliver(path)
    statuses = {client(root).get_run(run).info.status for run in running.runs.values()}
    assert statuses == {"RUNNING"}
    assert end_stale_runs(str(root)) == ["one"]
    assert standing(path).waiting
    outcome = deliver(path)
    assert outcome.runs == running.runs
    for run in outcome.runs.values():
        info = client(root).get_run(run).info
        assert (info.status, info.end_time) == ("KILLED", list(read(path))[2].time_ms)
    assert not standing(path).waiting


def test_importing_the_tracker_does_not_import_mlflow() -> None:
    code = (
        "import sys, orchestration.tracking, orchestration.deliver, orchestration.journal, orchestration.ui;"
        "print([name for name in ('mlflow', 'torch', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_server_that_is_absent_hangs_or_dies_costs_nothing_and_gets_every_point_once(
    root: Path, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run sees all of it: no server, a live one, a stopped one (SIGSTOP), a killed one, and the same one again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    home = tmp_path / "server"
    home.mkdir()
    copy_store(empty_store, home)
    slowest_write = 0.0
    step = 0
    with serving(str(home)) as first:
        port = int(first.url.rsplit(":", 1)[1])
        with Journal(str(root), "one") as writer:
            writer.run_started("demo", "demo")

            def train(steps: int) -> None:
                nonlocal step, slowest_write
                for _ in range(steps):
                    began = time.monotonic()
                    writer.metrics("demo", {"loss": 1 / (step + 1)}, step)
                    slowest_write = max(slowest_write, time.monotonic() - began)
                    step += 1

            absent = Courier(writer.path, "http://127.0.0.1:9", "openwit", every_seconds=0.1).start()
            train(100)
            waiting = absent.stop(10)
            assert (waiting.delivered, waiting.waiting) == (0, 101)
            assert "127.0.0.1" in (waiting.problem or "")

            courier = Courier(writer.path, first.url, "openwit", every_seconds=0.1).start()
            train(100)
            _until(lambda: standing(writer.path, first.url).waiting == 0)

            os.killpg(first.process.pid, signal.SIGSTOP)
            train(100)
            time.sleep(2.5)  # two tries time out
            os.killpg(first.process.pid, signal.SIGCONT)
            _until(lambda: standing(writer.path, first.url).waiting == 0)

            os.killpg(first.process.pid, signal.SIGSTOP)
            train(100)
            began = time.monotonic()
            outcome = courier.stop(0.5)
            assert time.monotonic() - began < 5
            assert outcome.waiting == 100
            assert outcome.problem is not None
            os.killpg(first.process.pid, signal.SIGKILL)
            writer.artifact("demo", str(_file(root / "report.html", "<h1>report</h1>")))
            train(100)
            writer.run_ended("demo")
    assert slowest_write < 3  # on a crowded machine; a client that waits would take 10 s and more
    _until(lambda: not courier._thread.is_alive())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    with serving(str(home), port) as second:
        outcome = deliver(writer.path, second.url)
        assert outcome.problem is None
        assert (outcome.waiting, outcome.refused) == (0, ())
        assert [path.name for path in (home / "mlartifacts").rglob("*.html")] == ["report.html"]
    assert curve(home, outcome.runs["demo"]) == [(step, 1 / (step + 1)) for step in range(500)]
    (run,) = client(home).search_runs([outcome.experiment_id])
    assert (run.info.run_name, run.info.status) == ("demo", "FINISHED")


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _until(condition: Any, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not happen"
        time.sleep(0.05)


def test_a_run_goes_to_the_experiment_its_courier_named_also_when_it_is_delivered_later(root: Path) -> None:
    with Journal(str(root), "one") as writer:
        writer.run_started("demo", "demo")
        Courier(writer.path, "http://127.0.0.1:9", "pictures", every_seconds=60).start().stop(20)
        writer.run_ended("demo")
    outcome: Delivery = deliver(writer.path)
    assert outcome.waiting == 0
    assert client(root).get_experiment(outcome.experiment_id).name == "pictures"
