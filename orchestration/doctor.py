"""What can be wrong with a machine before anything runs, each with the way out. Reads versions without importing.

ok: fine. warn: a run works, with a limit that is named. fail: a run cannot work; `openwit doctor` then exits with 2.
Versions: Ray 2.52 is the first with token authentication for jobs (and closes CVE-2025-62593); MLflow 3.17.2 the first
without CVE-2026-53995.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from rich.text import Text

from orchestration import show
from orchestration.reachable import answers, host_and_port, without_password
from orchestration.root import require_writable
from pipeline.errors import ConfigError

State = Literal["ok", "warn", "fail"]

MINIMUM: Mapping[str, tuple[int, ...]] = {
    "torch": (2, 6),
    "ray": (2, 52),
    "deepspeed": (0, 19, 8),
    "mlflow": (3, 17, 2),
    "img2dataset": (1, 47),
    "pyarrow": (18,),
    "pydantic": (2, 10),
    "pillow": (11,),
    "safetensors": (0, 5),
    "tokenizers": (0, 21),
    "scikit-learn": (1, 5),
}
"""Packages a run cannot do without, and the oldest version that works."""

MIN_MEMORY_BYTES = 8 * 2**30
MIN_FREE_BYTES = 5 * 2**30


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and what to do where that is not fine."""

    name: str
    state: State
    found: str
    way_out: str = ""


def check_all(root: str) -> list[Check]:
    """Every check, in the order in which they would stop a run."""
    return [
        _python(),
        *_packages(),
        *_ray_dashboard(),
        _cpus(),
        _memory(),
        _disk(root),
        _root(root),
        _gpu(),
        _browser(),
        *_servers(os.environ),
        _pickle(os.environ),
    ]


def failed(checks: Sequence[Check]) -> bool:
    return any(check.state == "fail" for check in checks)


def print_checks(checks: Sequence[Check]) -> None:
    style = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    for check in checks:
        line = Text(f"{check.state:<5}", style[check.state]).append(f"{check.name}: {check.found}", "not bold default")
        if check.way_out:
            line.append(f"; {check.way_out}", "default")
        show.console().print(line)


def _python() -> Check:
    version = platform.python_version()
    if (3, 10) <= sys.version_info[:2] < (3, 13):
        return Check("python", "ok", version)
    return Check("python", "fail", version, "use Python 3.10, 3.11 or 3.12")


def numbers(version: str) -> tuple[int, ...]:
    """(2, 13, 0) for "2.13.0+cpu"; a release candidate counts as its release."""
    parts: list[int] = []
    for part in version.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)


def _packages() -> Iterator[Check]:
    for name, minimum in MINIMUM.items():
        wanted = ".".join(map(str, minimum))
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "fail", "not installed", f"pip install '{name}>={wanted}'")
            continue
        if numbers(version) < minimum:
            yield Check(name, "fail", version, f"at least {wanted} is needed: pip install -U '{name}>={wanted}'")
        else:
            yield Check(name, "ok", version)


def _ray_dashboard() -> Iterator[Check]:
    """Ray Jobs are served by the dashboard, which `pip install ray` alone leaves out."""
    missing = []
    for name in ("aiohttp_cors", "opencensus"):
        try:
            metadata.version(name.replace("_", "-"))
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Check(
            "ray jobs", "warn", f"{', '.join(missing)} not installed", "pip install 'ray[default]' to start a head here"
        )
    else:
        yield Check("ray jobs", "ok", "the dashboard is installed")


def _cpus() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{usable} usable"
    if usable < 2:
        return Check("cpus", "warn", found, "recipe demo trains with two workers, which will share one CPU")
    return Check("cpus", "ok", found)


def memory_bytes(meminfo: str, limits: Sequence[str]) -> int | None:
    """The memory this process may use: the machine's, or its container's limit where that is lower."""
    sizes = [int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:")]
    sizes += [int(text) for text in limits if text.strip().isdigit()]
    return min(sizes, default=None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError:
        return ""


def _memory() -> Check:
    limits = [_read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    usable = memory_bytes(_read("/proc/meminfo"), limits)
    if usable is None:
        return Check("memory", "ok", "size not known on this system")
    found = show.bytes_text(usable)
    if usable < MIN_MEMORY_BYTES:
        return Check("memory", "warn", found, f"recipe demo is measured to fit in {show.bytes_text(MIN_MEMORY_BYTES)}")
    return Check("memory", "ok", found)


def _disk(root: str) -> Check:
    folder = Path(root.removeprefix("file://")).absolute()
    existing = next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
    free = shutil.disk_usage(existing).free
    found = f"{show.bytes_text(free)} at {existing}"
    if free < MIN_FREE_BYTES:
        return Check("free disk", "warn", found, "free some space or choose another --root")
    return Check("free disk", "ok", found)


def _root(root: str) -> Check:
    existed = "://" not in root and Path(root).exists()
    try:
        require_writable(root)
    except ConfigError as error:
        found, _, way_out = str(error).partition("; ")
        return Check("root", "fail", found, way_out)
    if not existed and Path(root).is_dir() and not any(Path(root).iterdir()):
        Path(root).rmdir()  # looking at a machine leaves nothing on it
    return Check("root", "ok", f"{root} can be written")


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("gpu", "ok", "none seen by torch; recipes for the CPU run, larger models need one")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("gpu", "ok", ", ".join(names))


def _browser() -> Check:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return Check("browser", "ok", f"{path} (optional)")
    return Check("browser", "ok", "no chromium; the tests that open pages in it are skipped")


def _servers(environment: Mapping[str, str]) -> Iterator[Check]:
    for variable, effect in (
        ("RAY_ADDRESS", "unset it to use an embedded local Ray"),
        ("RAY_API_SERVER_ADDRESS", "unset it, or start the head: ray start --head"),
        ("MLFLOW_TRACKING_URI", "unset it to use the SQLite store under --root; a run keeps its journal meanwhile"),
    ):
        value = environment.get(variable)
        if not value:
            continue
        host, port = host_and_port(value)
        if host is None:
            yield Check(variable, "ok", without_password(value))
        elif answers(host, port):
            yield Check(variable, "ok", f"{without_password(value)} answers")
        else:
            yield Check(variable, "warn", f"{without_password(value)} does not answer", effect)


def _pickle(environment: Mapping[str, str]) -> Check:
    name = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
    if environment.get(name, "true").lower() in ("false", "0"):
        return Check("mlflow pickle", "ok", f"{name} is false")
    return Check("mlflow pickle", "warn", "MLflow may load pickled models, which can run code", f"export {name}=false")
