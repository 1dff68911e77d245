"""openwit doctor: what it sees, what it makes of it, and that it changes nothing."""

import json
import os
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import orchestration
from orchestration import doctor
from orchestration.doctor import Check, failed, memory_bytes, numbers
from orchestration.reachable import host_and_port, without_password


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def named(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_this_machine_passes_and_keeps_no_trace_of_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "doctor", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(orchestration.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is True
    assert {"python", "torch", "ray", "mlflow", "cpus", "memory", "gpu", "root"} <= {c["name"] for c in found["checks"]}
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_old_package_fails_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "deepspeed":
            raise metadata.PackageNotFoundError(name)
        return "3.17.1" if name == "mlflow" else "99.0"

    monkeypatch.setattr(doctor.metadata, "version", version)
    found = named(list(doctor._packages()))
    assert found["deepspeed"] == Check("deepspeed", "fail", "not installed", "pip install 'deepspeed>=0.19.8'")
    assert found["mlflow"].state == "fail"
    assert "pip install -U 'mlflow>=3.17.2'" in found["mlflow"].way_out
    assert found["ray"].state == "ok"
    assert failed(list(found.values()))


def test_versions_compare_as_numbers() -> None:
    assert numbers("2.13.0+cpu") == (2, 13, 0)
    assert numbers("3.17.2rc1") == (3, 17, 2)
    assert numbers("2.9") < numbers("2.52") < numbers("2.52.1")


def test_a_containers_memory_limit_counts() -> None:
    machine = "MemTotal:       24000000 kB\nMemFree: 1 kB\n"
    assert memory_bytes(machine, ["max\n", ""]) == 24_576_000_000
    assert memory_bytes(machine, ["4294967296\n"]) == 4 * 2**30
    assert memory_bytes("", ["max"]) is None


def test_an_unwritable_root_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    check = doctor._root(str(tmp_path / "file" / "runs"))
    assert check.state == "fail"
    assert check.way_out == "choose another --root"


def test_servers_that_are_named_are_tried_and_their_passwords_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@127.0.0.1:{port}")
        monkeypatch.setenv("RAY_ADDRESS", "auto")
        found = named(list(doctor._servers(os.environ)))
    assert found["MLFLOW_TRACKING_URI"] == Check("MLFLOW_TRACKING_URI", "ok", f"http://***@127.0.0.1:{port} answers")
    assert found["RAY_ADDRESS"] == Check("RAY_ADDRESS", "ok", "auto")
    gone = named(list(doctor._servers(os.environ)))["MLFLOW_TRACKING_URI"]
    assert gone.state == "warn"
    assert "does not answer" in gone.found
    assert "unset it to use the SQLite store" in gone.way_out


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("auto", (None, 0)),
        ("local", (None, 0)),
        ("sqlite:////tmp/a.db", (None, 0)),
        ("head:6379", ("head", 6379)),
        ("ray://head", ("head", 10001)),
        ("http://head:8265", ("head", 8265)),
        ("https://mlflow.example", ("mlflow.example", 443)),
        ("http://[::1]:99", ("::1", 99)),
    ],
)
def test_addresses_are_read_as_ray_and_mlflow_write_them(address: str, expected: tuple[str | None, int]) -> None:
    assert host_and_port(address) == expected


def test_an_address_without_a_password_is_shown_as_it_is() -> None:
    assert without_password("http://head:8265/a@b") == "http://head:8265/a@b"


def test_pickle_is_warned_of_until_it_is_switched_off() -> None:
    name = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
    assert doctor._pickle({}).state == "warn"
    assert doctor._pickle({name: "false"}).state == "ok"
