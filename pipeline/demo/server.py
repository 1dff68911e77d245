"""The demo web's server: `python -m pipeline.demo.server FOLDER --port 0` prints {"port": N} and serves until it is killed.

One site per Host header, HTTP/1.1 with kept connections, on 127.0.0.1 only. Where site.json says so it misbehaves:
statuses, redirects, one failure before success, a byte per second. `serving` runs it as a child process that ends with
its parent, whatever kills the parent.
"""

import argparse
import contextlib
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, DataError, UserError

ADDRESS = "127.0.0.1"
_PARENT_POLL_SECONDS = 0.5


class Server(ThreadingHTTPServer):
    """Serves the site in `folder`. Raises ConfigError when the port cannot be had, DataError when there is no site."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, folder: str, port: int) -> None:
        self.folder = Path(folder)
        try:
            self.site: dict[str, Any] = json.loads((self.folder / "site.json").read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(f"{folder}: no site.json, so no finished demo web; build it again") from None
        self.visits: Counter[str] = Counter()
        self.visits_lock = threading.Lock()
        try:
            super().__init__((ADDRESS, port), Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"port {port} on {ADDRESS}: {why}; choose another port, or 0 for any free one") from error

    def server_bind(self) -> None:
        # HTTPServer's own would look up the machine's host name, seconds where DNS is slow.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, int(self.server_address[1])

    def visit(self, key: str) -> int:
        """How often `key` was asked for before."""
        with self.visits_lock:
            self.visits[key] += 1
            return self.visits[key] - 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the day's work; anything else is a bug and shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "DemoWeb"
    sys_version = ""
    timeout = 60  # of a silent kept connection
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rsplit(":", 1)[0].lower()
        key = host + self.path.partition("?")[0].partition("#")[0]
        behaviour = self.server.site["behaviours"].get(key, {"kind": "file"})
        kind = behaviour["kind"]
        if kind == "redirect":
            self._answer(behaviour["status"], b"", "text/plain", {"Location": behaviour["to"]})
        elif kind == "status" or (kind == "flaky" and self.server.visit(key) < behaviour["failures"]):
            self._plain(behaviour["status"])
        elif kind == "drip":
            self._drip(behaviour)
        else:
            self._file(key)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _file(self, key: str) -> None:
        entry = self.server.site["files"].get(key)
        if entry is None:
            self._plain(404)
            return
        self._answer(200, (self.server.folder / entry["file"]).read_bytes(), entry["type"], entry["headers"])

    def _plain(self, status: int) -> None:
        self._answer(status, f"{status} {self.responses[status][0]}\n".encode(), "text/plain", {})

    def _answer(self, status: int, body: bytes, type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drip(self, behaviour: dict[str, Any]) -> None:
        """One byte after the other until the client hangs up."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", behaviour["type"])
        self.send_header("Content-Length", str(behaviour["bytes"]))
        self.end_headers()
        for number in range(behaviour["bytes"] if self.command != "HEAD" else 0):
            self.wfile.write(b"\xff\xd8\xff\xe0"[number : number + 1] or b"\0")
            self.wfile.flush()
            time.sleep(behaviour["seconds_per_byte"])

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the crawl's own counts tell what happened."""


@contextlib.contextmanager
def serving(folder: str, port: int = 0) -> Iterator[int]:
    """Serve `folder` from a child process and yield its port. Raises ConfigError for a port in use, DataError without a site."""
    # A session of its own: Ctrl-C reaches the parent alone, which then ends the child in its own time.
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.demo.server", folder, "--port", str(port), "--parent", str(os.getpid())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            message = child.communicate()[1].strip()
            kind = DataError if "site.json" in message else ConfigError
            raise kind(message.splitlines()[-1] if message else "the demo server did not start")
        # The line is printed after listen(): from here on every connection is answered.
        yield int(json.loads(line)["port"])
    finally:
        child.kill()
        child.communicate()


def _end_with(parent: int) -> None:
    """Leave when the process is handed to another parent, which is how the death of ours shows."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(0)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.demo.server", description="Serve a demo web on 127.0.0.1."
    )
    parser.add_argument("folder", help="what build_site wrote")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--parent", type=int, help="process id to end with")
    options = parser.parse_args(arguments)
    try:
        server = Server(options.folder, options.port)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if options.parent:
        threading.Thread(target=_end_with, args=(options.parent,), daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
