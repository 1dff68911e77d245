"""The MLflow pages of a root: served safely, ended wholly, and drawn in a browser without errors."""

import base64
import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from orchestration import tracking
from orchestration.deliver import deliver
from orchestration.delivery import Delivery
from orchestration.journal_writer import Journal
from orchestration.ui import Served, serve_ui, serving
from pipeline.errors import ConfigError, DataError
from tests.browser import open_page


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Delivery]:
    root = tmp_path_factory.mktemp("root")
    png = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 30, 60)).save(png, "PNG")
    picture = base64.b64encode(png.getvalue()).decode()
    (root / "report.html").write_text(
        f"<!doctype html><title>report</title><h1>All of it</h1><img src='data:image/png;base64,{picture}'>"
        "<script>document.querySelector('h1').textContent += ', with scripts'</script>"
    )
    checkpoint = root / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    with Journal(str(root), "one") as writer:
        writer.run_started("demo", "a demo run", tags={"openwit.recipe": "demo"}, params={"seed": 7})
        writer.run_started("train", "train")
        for step in range(50):
            writer.metrics("train", {"loss": 1 / (step + 1)}, step)
        writer.model("train", "clip", str(checkpoint), register_as="demo-clip")
        writer.run_ended("train")
        writer.artifact("demo", str(root / "report.html"))
        writer.note("demo", "The **summary** of this run")
        writer.run_ended("demo")
    outcome = deliver(writer.path, f"sqlite:///{root}/mlflow.db")
    assert outcome.waiting == 0
    return root, outcome


@pytest.fixture(scope="module")
def served(delivered: tuple[Path, Delivery]) -> Iterator[Served]:
    with serving(str(delivered[0])) as server:
        yield server


def status(served: Served, path: str, host: str) -> int:
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
    connection.request("GET", path, headers={"Host": host})
    return connection.getresponse().status


def test_only_its_own_names_are_answered(served: Served) -> None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert status(served, path, served.url.removeprefix("http://")) == 200
    # MLflow's default list would take these: a name of that pattern may point here (DNS rebinding).
    for host in ("10.evil.example", "192.168.0.9", "evil.example"):
        assert status(served, path, host) == 403


def test_two_processes_and_not_ten(served: Served) -> None:
    listed = subprocess.run(
        ["ps", "-o", "pid=,rss=", "-g", str(served.process.pid)], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert len(rows) <= 3
    assert sum(int(rss) for _, rss in rows) < 1_000_000  # KiB


def test_mistakes_are_one_line(tmp_path: Path, delivered: tuple[Path, Delivery]) -> None:
    with pytest.raises(DataError, match=r"no MLflow store yet.*--root"):
        serve_ui(str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port {port}: .*choose another --port"):
            serve_ui(str(delivered[0]), port)
    with pytest.raises(ConfigError, match=r"198\.51\.100\.7"):
        serve_ui(str(delivered[0]), 0, "198.51.100.7")


def test_control_c_ends_the_server_and_its_worker(delivered: tuple[Path, Delivery]) -> None:
    root, outcome = delivered
    code = "import sys; from orchestration.ui import serve_ui; serve_ui(sys.argv[1], 0, announce=lambda t: print(t, flush=True))"
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    newest = process.stdout.readline()
    assert f"/runs/{outcome.runs['demo']}" in newest
    port = process.stdout.readline().split("127.0.0.1:")[1].split()[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    until = time.monotonic() + 10
    while _listening(int(port)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _listening(int(port))


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.browser
def test_a_run_page_and_its_report_open_without_errors(
    served: Served, delivered: tuple[Path, Delivery], tmp_path: Path
) -> None:
    _, outcome = delivered
    with open_page(served.newest_run_url) as page:
        page.wait_for_text("a demo run")
        page.wait_for_text("The summary of this run")
        page.wait_for_text("train")
        assert page.errors() == []

        page.go(served.url + str(outcome.page("demo", "artifacts/report.html")))
        page.wait_for("iframe")
        with page.inside("iframe"):
            page.wait_for_text("All of it, with scripts")
            page.wait_for("img")
            assert page.undrawn_pictures() == []
        page.screenshot(str(tmp_path / "report.png"))
        assert page.errors() == []

        page.go(served.url + str(outcome.page("train", "model-metrics")))
        page.wait_for_text("loss")
        page.wait_for(".js-plotly-plot .scatterlayer path")
        assert page.errors() == []

        page.go(f"{served.url}/#/models/demo-clip/versions/1")
        page.wait_for_text("Version 1")
        page.wait_for_text(tracking.MODEL_KEY)
        assert page.errors() == []
    drawn = Image.open(tmp_path / "report.png").convert("RGB")
    colours = {colour for _, colour in drawn.getcolors(1 << 24) or []}
    assert (200, 30, 60) in colours


@pytest.mark.browser
def test_an_error_on_a_page_is_seen(tmp_path: Path) -> None:
    """The watcher itself: a script that throws and a picture that is not there are both found."""
    (tmp_path / "page.html").write_text("<img src='missing.png'><p>text</p><script>undefinedFunction()</script>")
    with open_page((tmp_path / "page.html").as_uri()) as page:
        page.wait_for_text("text")
        assert any("undefinedFunction" in message for message in page.errors())
        assert any("missing.png" in message for message in page.errors())
        assert len(page.undrawn_pictures()) == 1


def test_a_missing_browser_skips_unless_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("OPENWIT_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install"), open_page("about:blank"):
        pass
    monkeypatch.setenv("OPENWIT_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install"), open_page("about:blank"):
        pass
