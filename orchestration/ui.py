"""The MLflow pages of a root's runs: `mlflow server` as a child process on the root's own SQLite and files.

One worker, no job runner (the default server is 10 processes and 2.3 GB; this one 2 and about 0.5 GB), no telemetry, and
an exact list of host names: MLflow's default list holds patterns like `10.*`, which a hostile name such as
10.evil.example passes (DNS rebinding). There is no password: whoever reaches the port may change runs.
"""

import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from orchestration import delivery, journal
from pipeline.errors import ConfigError, DataError

READY = "Uvicorn running on"  # said once the port listens; "startup complete" comes a moment too early
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "PYTHONUNBUFFERED": "1",
}
# Settings of the caller's own tracking, which would point the server elsewhere.
_NOT_INHERITED = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_RUN_ID")


@dataclass(frozen=True)
class Served:
    """A running server: its address, the page of the newest run (or the address), and its process (a group of its own)."""

    url: str
    newest_run_url: str
    process: "subprocess.Popen[bytes]"


def serve_ui(
    root: str,
    port: int = 5000,
    host: str = "127.0.0.1",
    allowed_hosts: Sequence[str] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises ConfigError for a port in use, DataError for a root without a store."""
    with serving(root, port, host, allowed_hosts) as served:
        try:
            announce(f"newest run: {served.newest_run_url}")
            announce(f"all runs:   {served.url}   (Ctrl-C ends)")
            code = served.process.wait()
        except KeyboardInterrupt:
            return
        raise DataError(f"mlflow server ended by itself with exit code {code}; run it again")


@contextmanager
def serving(
    root: str,
    port: int = 0,
    host: str = "127.0.0.1",
    allowed_hosts: Sequence[str] = (),
    start_seconds: float = 120.0,
) -> Iterator[Served]:
    """A server for the time of the block; port 0 takes a free one. `allowed_hosts` adds names ("host:port") to its own."""
    folder = journal.local_root(root)
    if not (folder / "mlflow.db").exists():
        remote = os.environ.get("MLFLOW_TRACKING_URI")
        elsewhere = f"; MLFLOW_TRACKING_URI sends runs to {remote}, look there" if remote else ""
        raise DataError(
            f"{folder}/mlflow.db: no MLflow store yet{elsewhere or '; run a recipe first, or give its --root'}"
        )
    port = _free_port(host, port)
    names = list(dict.fromkeys([f"127.0.0.1:{port}", f"localhost:{port}", f"{host}:{port}", *allowed_hosts]))
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        f"{folder}/mlartifacts",
    ]
    command += [
        "--allowed-hosts",
        ",".join(names),
        "--cors-allowed-origins",
        ",".join(f"http://{name}" for name in names),
    ]
    process = subprocess.Popen(
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_until_ready(process, start_seconds)
        url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        yield Served(url, url + (newest_run_page(root) or ""), process)
    finally:
        _end(process)


def newest_run_page(root: str) -> str | None:
    """The place of the newest delivered run's page behind the server's address; None where there is none."""
    uri = f"sqlite:///{journal.local_root(root)}/mlflow.db"
    for path in reversed(journal.journals(root)):
        first = next(journal.read(path))
        if page := delivery.standing(path, uri).page(first.run):
            return page
    return None


def _free_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises ConfigError where it is taken: MLflow would say so only seconds later."""
    try:
        with _Probe((host, port), socketserver.BaseRequestHandler) as probe:
            return int(probe.server_address[1])
    except OSError as error:
        raise ConfigError(
            f"--port {port}: cannot be used on {host} ({error.strerror}); choose another --port"
        ) from error


class _Probe(socketserver.TCPServer):
    allow_reuse_address = True


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED} | _ENVIRONMENT


def _wait_until_ready(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Read the child's output until it serves; a thread goes on reading, as a full pipe would stop the child."""
    ready, lines = threading.Event(), deque[str](maxlen=20)
    assert process.stdout is not None
    threading.Thread(target=_drain, args=(process.stdout, ready, lines), daemon=True).start()
    if not ready.wait(seconds):
        raise DataError(
            f"mlflow server: not ready after {seconds:g} s; its last line: {lines[-1] if lines else 'none'}"
        )
    if not any(READY in line for line in lines):
        raise DataError(f"mlflow server: could not start: {lines[-1] if lines else 'it said nothing'}")


def _drain(output: IO[bytes], ready: threading.Event, lines: deque[str]) -> None:
    for line in output:
        if not ready.is_set():
            lines.append(line.decode("utf-8", "replace").strip())
        if READY.encode() in line:
            ready.set()
    ready.set()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server and its worker, which are one process group."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
