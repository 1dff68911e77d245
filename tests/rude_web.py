"""A web server on loopback that answers as badly as a test wants."""

import io
import socketserver
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from pipeline.web.network import Fetched
from pipeline.web.together import fetch_all
from pipeline.web.web_config import NetworkConfig

Reply = Callable[[io.BufferedIOBase, dict[str, str]], None]


def plain(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]).encode() + body


class Web:
    """A server on loopback whose answers are bytes or functions that write them; `asked` counts (host, path)."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | list[bytes] | Reply] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.headers: dict[str, dict[str, str]] = {}
        self.now_open: Counter[str] = Counter()
        self.most_open: Counter[str] = Counter()
        web = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    while (first := self.rfile.readline()) not in (b"", b"\r\n"):
                        web._answer(first, self.rfile, self.wfile)
                except OSError:
                    pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def _answer(self, first: bytes, incoming: Any, out: Any) -> None:
        path = first.split(b" ")[1].decode()
        headers = {}
        while (line := incoming.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode()
        host = headers.get("host", "")
        self.asked[host, path] += 1
        self.headers[path] = headers
        self.now_open[host] += 1
        self.most_open[host] = max(self.most_open[host], self.now_open[host])
        answer = self.answers.get(path, plain(b"", "404 Not Found"))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        try:
            if callable(answer):
                answer(out, headers)
            else:
                out.write(answer)
        finally:
            self.now_open[host] -= 1

    def config(self, **changes: Any) -> NetworkConfig:
        hosts = dict.fromkeys(("a.example", "b.example", "xn--mnchen-3ya.example"), f"127.0.0.1:{self.port}")
        given = {
            "retry_wait_seconds": 0.01,
            "total_seconds": 10.0,
            "contact": "https://openwit.example/bot",
            "hosts": hosts,
        }
        return NetworkConfig(**{**given, **changes})

    def get(self, path: str, **changes: Any) -> Fetched:
        url = path if "://" in path else f"http://a.example{path}"
        return fetch_all(self.config(**changes), [url])[0]
