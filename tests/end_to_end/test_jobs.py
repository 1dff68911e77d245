"""The same recipe as a Ray job: sent, followed to its end, and equal to the local run."""

import shutil
from pathlib import Path

import pytest
from heads import TOKEN, token_head
from runs import STEPS, Ran, answer, environment, openwit

DONE_BY_THE_JOB = ("fetch", "deduplicate", "decontaminate", "pack", "train")


@pytest.fixture
def begun(smoke: Ran, tmp_path: Path) -> Path:
    """A root with all of the local run but what the job shall do. Evaluation and report are found there by the id of what they
    are made from: a job with another dataset or another checkpoint would make its own."""
    root = Path(shutil.copytree(smoke.root, tmp_path / "runs"))
    for name in (*DONE_BY_THE_JOB, "pictures"):
        for folder in root.glob(f"{name}-*"):
            shutil.rmtree(folder)
    return root


@pytest.mark.cluster
def test_a_submitted_recipe_ends_well_and_gives_the_same_dataset(smoke: Ran, begun: Path, tmp_path: Path) -> None:
    with token_head() as head:
        without = openwit("submit", "smoke", "--address", head.address, "--root", str(tmp_path), env=no_token())
        assert without.returncode == 2
        assert len(without.stderr.strip().splitlines()) == 1
        assert "token" in without.stderr
        env = environment(RAY_AUTH_TOKEN=TOKEN)
        sent = answer("submit", "smoke", "--address", head.address, "--root", str(begun), env=env)
        followed = openwit("jobs", "logs", sent["job"], "-f", "--address", head.address, env=env, timeout=500)
        assert followed.returncode == 0, followed.stdout[-3000:] + followed.stderr[-2000:]
        assert smoke.result["manifest_id"] in followed.stdout
        status = answer("jobs", "status", sent["job"], "--address", head.address, env=env)
        assert status["status"] == "SUCCEEDED"
        assert status["commit"]
    states = {name: len(list(begun.glob(f"{name}-*/step.json"))) for name in STEPS}
    assert states == dict.fromkeys(STEPS, 1)
    again = answer("run", "smoke", "--root", str(begun))
    assert {step["state"] for step in again["steps"]} == {"up to date"}
    assert again["manifest_id"] == smoke.result["manifest_id"]
    assert again["checkpoint_id"] == smoke.result["checkpoint_id"]


def no_token() -> dict[str, str]:
    """An environment in which no token is to be found, not in the home folder either."""
    return {name: value for name, value in environment(HOME="/nonexistent").items() if not name.startswith("RAY_AUTH")}
