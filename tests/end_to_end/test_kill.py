"""kill -9 in every step, then the same command again: the same dataset, the same model, nothing half-written taken for done."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from runs import STEPS, Ran, answer, environment


def kill_in(step: str, root: Path, seconds_into_it: float) -> bool:
    """Start the run, SIGKILL its whole process group a moment after `step` began; False where the step ended before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", "run", "smoke", "--root", str(root)],
        env=environment(OPENWIT_EXECUTOR="in-process"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 200
        while not list(root.glob(f".locks/{step}-*")):  # made when the step's turn comes
            assert process.poll() is None, f"the run ended before {step}"
            assert time.monotonic() < deadline, f"{step} did not begin"
            time.sleep(0.02)
        time.sleep(seconds_into_it)
        return process.poll() is None and not list(root.glob(f"{step}-*/step.json"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_killed_in_every_step_the_result_is_that_of_an_undisturbed_run(smoke: Ran, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    hit = [step for step in STEPS if kill_in(step, root, 8.0 if step == "train" else 0.1)]
    # A step of a few milliseconds may end before the signal comes; those that do work are hit.
    assert {"web", "crawl", "fetch", "train"} <= set(hit)
    result = answer("run", "smoke", "--root", str(root), timeout=400)
    assert result["manifest_id"] == smoke.result["manifest_id"]
    assert result["checkpoint_id"] == smoke.result["checkpoint_id"]
    assert result["scores"] == smoke.result["scores"]
    losses = [
        [json.loads(line)["loss"] for line in (folder / "steps.jsonl").read_text().splitlines()]
        for folder in (smoke.step("train"), next(root.glob("train-*")))
    ]
    assert losses[0] == losses[1]
    states = {
        json.loads(line)["kind"] for path in root.glob("runs/*/journal.jsonl") for line in path.read_text().splitlines()
    }
    assert "run_ended" in states
    leftovers = [path for path in root.rglob("*.tmp") if "train" not in str(path)]
    assert len(leftovers) <= len(STEPS)  # a killed write's temporary file may stay; no reader looks at it
