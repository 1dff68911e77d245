"""Running the real command line from a test, in processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = [
    "web",
    "references",
    "crawl",
    "select",
    "fetch",
    "deduplicate",
    "decontaminate",
    "pack",
    "train",
    "evaluate",
    "report",
]
"""The steps of the recipe smoke, in order."""


def environment(**added: str) -> dict[str, str]:
    """This process's environment without what would send a run elsewhere."""
    away = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "OPENWIT_EXECUTOR")
    return {name: value for name, value in os.environ.items() if name not in away} | added


def openwit(
    *arguments: str, timeout: float = 400, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The real command line, in a process of its own."""
    command = [sys.executable, "-m", "orchestration.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env or environment(), cwd=cwd)


def answer(*arguments: str, **options: Any) -> Any:
    """What `openwit ... --json` prints; fails the test with its stderr where it does not end well."""
    done = openwit(*arguments, "--json", **options)
    assert done.returncode == 0, f"openwit {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Ran:
    root: Path
    result: dict[str, Any]
    seconds: float

    def step(self, name: str) -> Path:
        return Path(next(step["path"] for step in self.result["steps"] if step["name"] == name))


def steps_of(result: dict[str, Any], state: str) -> Sequence[str]:
    return [step["name"] for step in result["steps"] if step["state"] == state]
