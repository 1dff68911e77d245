"""The demo server sends what the site holds, misbehaves as planned, and never outlives its parent."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo.server import serving
from pipeline.errors import ConfigError, DataError

HOST = "a.openwit.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of four files with one of each misbehaviour."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "home.html").write_text("<p>home of a</p>")
    (folder / "other.html").write_text("<p>home of b</p>")
    (folder / "x.jpg").write_bytes(b"\xff\xd8 a picture")
    files = {
        f"{HOST}/": {"file": "home.html", "type": "text/html", "headers": {}},
        "b.openwit.example/": {"file": "other.html", "type": "text/html", "headers": {"X-Robots-Tag": "noai"}},
        f"{HOST}/flaky.jpg": {"file": "x.jpg", "type": "image/jpeg", "headers": {}},
    }
    behaviours = {
        f"{HOST}/flaky.jpg": {"kind": "flaky", "failures": 1, "status": 500},
        f"{HOST}/gone": {"kind": "status", "status": 410},
        f"{HOST}/moved": {"kind": "redirect", "to": f"http://{HOST}/", "status": 301},
        f"{HOST}/slow": {"kind": "drip", "bytes": 1000, "seconds_per_byte": 0.05, "type": "image/jpeg"},
    }
    (folder / "site.json").write_text(json.dumps({"files": files, "behaviours": behaviours}))
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with serving(str(folder)) as port:
        yield port


@pytest.fixture
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    yield connection
    connection.close()


def ask(
    connection: http.client.HTTPConnection, path: str, host: str = HOST, method: str = "GET"
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_each_host_has_its_own_site_over_one_kept_connection(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "/")[:2] == (200, b"<p>home of a</p>")
    first = connection.sock
    status, body, headers = ask(connection, "/?page=1", "B.openwit.example:80")
    assert (status, body, headers["X-Robots-Tag"]) == (200, b"<p>home of b</p>", "noai")
    assert ask(connection, "/", "c.openwit.example")[0] == 404
    assert ask(connection, "/../../etc/passwd")[0] == 404
    assert ask(connection, "/", method="HEAD")[:2] == (200, b"")
    assert ask(connection, "/")[0] == 200
    assert connection.sock is first


def test_misbehaviour_is_as_planned(connection: http.client.HTTPConnection) -> None:
    assert [ask(connection, "/flaky.jpg")[0] for _ in range(3)] == [500, 200, 200]
    assert ask(connection, "/gone")[0] == 410
    status, _, headers = ask(connection, "/moved")
    assert (status, headers["Location"]) == (301, f"http://{HOST}/")
    assert ask(connection, "/nothing")[0] == 404


def test_a_dripping_picture_comes_byte_by_byte_and_holds_up_nobody(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        started = time.monotonic()
        data = b""
        while not data.partition(b"\r\n\r\n")[2][4:]:
            data += slow.recv(100)
        assert time.monotonic() - started >= 0.15
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        assert ask(other, "/")[0] == 200
        other.close()


def test_a_port_in_use_is_one_line_with_the_way_out(folder: Path, port: int) -> None:
    with (
        pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1: .*choose another port") as error,
        serving(str(folder), port),
    ):
        pass
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="port 99999"), serving(str(folder), 99999):
        pass


def test_a_folder_without_a_finished_site_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished demo web"), serving(str(tmp_path)):
        pass


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def gone_within(seconds: float, port: int) -> bool:
    deadline = time.monotonic() + seconds
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not answers(port)


def test_the_server_ends_with_the_context_and_with_a_killed_parent(folder: Path) -> None:
    with serving(str(folder)) as port:
        assert answers(port)
    assert gone_within(10, port)
    command = "import sys, time; from pipeline.demo.server import serving\n"
    command += "with serving(sys.argv[1]) as port: print(port, flush=True); time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", command, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    assert answers(port)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert gone_within(20, port)
