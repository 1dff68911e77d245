"""Kept connections, plain and TLS: used again, renewed when they have ended, and TLS begun with the last ticket."""

import asyncio
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.web import connections
from pipeline.web.network import Fetched, Network
from pipeline.web.web_config import NetworkConfig

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)


class Server(socketserver.ThreadingTCPServer):
    """Answers `answers` requests on each connection, then hangs up without a word."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None, answers: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.context, self.answers = context, answers
        self.reused: list[bool | None] = []  # per connection: whether its TLS session was known
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        sock = self.request
        try:
            if self.server.context is not None:
                sock = self.server.context.wrap_socket(sock, server_side=True)
            self.server.reused.append(getattr(sock, "session_reused", None))
            file = sock.makefile("rb")
            for _ in range(self.server.answers):
                line = file.readline()
                while file.readline() not in (b"\r\n", b""):
                    pass
                if not line:
                    return
                sock.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" if b"robots" in line else ANSWER)
            sock.close()
        except OSError:
            return


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj", "/CN=a.example", "-addext",
         "subjectAltName=DNS:a.example"],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return folder


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def serve(scheme: str, folder: Path, answers: int) -> Server:
    context = None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return Server(context, answers)


def fetch(server: Server, scheme: str, count: int, at_once: bool = False, pause: float = 0.0) -> list[Fetched]:
    address = f"127.0.0.1:{server.server_address[1]}"
    config = NetworkConfig(hosts={"a.example": address, "b.example": address}, read_tdmrep=False, retries=0)

    async def work() -> list[Fetched]:
        async with Network(config) as network:
            urls = [f"{scheme}://a.example/{number}" for number in range(count)]
            if at_once:
                return list(await asyncio.gather(*map(network.get, urls)))
            found = []
            for url in urls:
                found.append(await network.get(url))
                await asyncio.sleep(pause)
            return found

    return asyncio.run(work())


def test_one_connection_serves_many_requests(certificate: Path, scheme: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    server = serve(scheme, certificate, 100)
    got = fetch(server, scheme, 5)
    assert [(each.reason, len(each.body)) for each in got] == [(None, 100_000)] * 5
    assert len(server.reused) == 1
    got = fetch(server, scheme, 30, at_once=True)
    assert {(each.reason, len(each.body)) for each in got} == {(None, 100_000)}
    assert len(server.reused) <= 1 + 8  # per_host_concurrency


def test_where_too_many_are_kept_those_idle_longest_go(monkeypatch: Any) -> None:
    monkeypatch.setattr(connections, "MAX_IDLE", 2)
    server = serve("http", Path(), 100)
    address = f"127.0.0.1:{server.server_address[1]}"
    config = NetworkConfig(hosts={f"{name}.example": address for name in "abc"}, read_tdmrep=False)

    async def work() -> list[Fetched]:
        async with Network(config) as network:
            return [await network.get(f"http://{name}.example/x") for name in "abcccba"]

    assert [each.reason for each in asyncio.run(work())] == [None] * 7
    assert len(server.reused) == 4  # one for each host, and a's again


def test_a_kept_connection_that_has_ended_costs_no_request(certificate: Path, scheme: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    for pause in (0.0, 0.05):  # met while asking, and seen before
        server = serve(scheme, certificate, 2)
        got = fetch(server, scheme, 6, pause=pause)
        assert [each.reason for each in got] == [None] * 6
        assert [each.attempts for each in got] == [1] * 6
        assert len(server.reused) == 4  # robots.txt and six, two at a time
        if scheme == "https":
            assert server.reused == [False, True, True, True]


def test_a_certificate_that_is_unknown_or_of_another_name_is_refused(certificate: Path, monkeypatch: Any) -> None:
    server = serve("https", certificate, 100)
    assert fetch(server, "https", 1)[0].evidence == "TLS failed"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    address = f"127.0.0.1:{server.server_address[1]}"

    async def other() -> Fetched:
        async with Network(NetworkConfig(hosts={"b.example": address}, retries=0)) as network:
            return await network.get("https://b.example/x")

    got = asyncio.run(other())
    assert (got.reason, got.evidence) == ("connection_failed", "TLS failed")


def test_of_several_addresses_the_first_that_answers_is_taken(monkeypatch: Any) -> None:
    """203.0.113.x stands for one that is silent; sockets go to the server here, whatever address was judged."""
    server = serve("http", Path(), 100)
    real = asyncio.SelectorEventLoop.sock_connect
    tried: list[str] = []

    async def connect(loop: Any, sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        if address[0] == "8.8.4.4":
            await asyncio.sleep(30)
        if address[0] == "8.8.8.8":
            raise ConnectionRefusedError
        await real(loop, sock, ("127.0.0.1", server.server_address[1]))

    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.4.4", "8.8.8.8", "9.9.9.9"]

    async def work() -> Fetched:
        async with Network(NetworkConfig(read_tdmrep=False), resolve) as network:
            return await network.get("http://a.example/x")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connect)
    started = time.monotonic()
    got = asyncio.run(work())
    assert (got.reason, len(got.body), tried) == (None, 100_000, ["8.8.4.4", "8.8.8.8", "9.9.9.9"])
    assert time.monotonic() - started < 10
