"""A real Ray head with token authentication, started by a test on free ports and ended by its own processes."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.cluster import job_client

TOKEN = "a-token-of-this-test"


@dataclass(frozen=True)
class Head:
    address: str
    folder: Path


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@contextmanager
def token_head() -> Iterator[Head]:
    # Below /tmp: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="openwit-head-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        gcs, dashboard, agent, client = free_ports(4)
        words = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--disable-usage-stats"]
        options = {
            "node-ip-address": "127.0.0.1",
            "port": gcs,
            "dashboard-host": "127.0.0.1",
            "dashboard-port": dashboard,
            "dashboard-agent-listen-port": agent,
            "ray-client-server-port": client,
            "num-cpus": 2,
            "object-store-memory": 200_000_000,
            "temp-dir": folder,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        with open(Path(folder) / "head.log", "wb") as log:
            child = subprocess.Popen(
                [*map(str, words), *(f"--{name}={value}" for name, value in options.items())],
                env=environment | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        address = f"http://127.0.0.1:{dashboard}"
        try:
            wait_for(address, child, Path(folder) / "head.log")
            yield Head(address, Path(folder))
        finally:
            family = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
            for each in family:
                each.kill()
            psutil.wait_procs(family, timeout=10)


def wait_for(address: str, child: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 120
    while True:
        try:
            job_client(address, {"Authorization": f"Bearer {TOKEN}"}).list_jobs()
            return
        except Exception:
            if child.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(log.read_text("utf-8", "replace")[-3000:]) from None
            time.sleep(0.5)
