"""Jobs on a real Ray head with a token, started here on free ports and ended by its own processes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from heads import TOKEN, Head, free_ports, token_head

from orchestration import job_server
from orchestration.cluster import job_client
from orchestration.job_package import commit, pack
from pipeline.errors import ConfigError, DataError

BROKEN_RECIPE = """
name: broken
data: /there/is/no/such/dataset
train: {model: clip-tiny, global_batch_size: 8, steps: 1, warmup_steps: 0}
track: {}
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with token_head() as started:
        yield started


@pytest.fixture(autouse=True)
def the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


@pytest.mark.cluster
def test_a_job_that_fails_gives_its_log_and_its_exit_code(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "broken.yaml"
    recipe.write_text(BROKEN_RECIPE)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")  # an address that is given is not overridden
    job = job_server.submit(str(recipe), address=head.address, root=str(tmp_path / "runs"))
    assert job.job.startswith("openwit-broken-")
    assert job.job.endswith("-1")
    assert (job.recipe, job.root, job.commit) == ("broken", str(tmp_path / "runs"), str_of_commit())
    text: list[str] = []
    assert job_server.jobs_logs(head.address, job.job, follow=True, write=text.append) == 2
    assert "/there/is/no/such/dataset" in "".join(text)
    assert "Traceback" not in "".join(text)
    assert TOKEN not in "".join(text)
    assert job_server.jobs_status(head.address, job.job).status == "FAILED"
    assert job.job in [each.job for each in job_server.jobs_list(head.address)]


@pytest.mark.cluster
def test_a_followed_log_is_whole_and_a_stopped_job_has_time_to_save(head: Head, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys, time, pathlib\n"
        "def stop(*_):\n"
        "    time.sleep(4)\n"
        f"    pathlib.Path({str(saved)!r}).write_text('saved')\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "for number in range(2000): print('line', number)\n"
        "time.sleep(120)\n"
    )
    client = job_client(head.address, {"Authorization": f"Bearer {TOKEN}"})
    job = client.submit_job(
        entrypoint=f"{sys.executable} {program}", runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "30"}}
    )
    text: list[str] = []

    def write(new: str) -> None:
        text.append(new)
        if "line 1999\n" in new:
            job_server.jobs_stop(head.address, job)

    assert job_server.jobs_logs(head.address, job, follow=True, write=write) == 143
    lines = [line for line in "".join(text).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(2000)]
    assert saved.read_text() == "saved"
    assert job_server.jobs_status(head.address, job).status == "STOPPED"


@pytest.mark.cluster
@pytest.mark.parametrize("token", [None, "another-token"])
def test_without_the_token_one_line_says_so(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    if token:
        (tmp_path / "token").write_text(token)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    recipe = tmp_path / "broken.yaml"
    recipe.write_text(BROKEN_RECIPE)
    for ask in (
        lambda: job_server.submit(str(recipe), address=head.address, root=str(tmp_path)),
        lambda: job_server.jobs_list(head.address),
    ):
        with pytest.raises(ConfigError, match="refuses this token" if token else "wants its token") as caught:
            ask()
        assert "RAY_AUTH_TOKEN" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.cluster
def test_a_job_nobody_knows_is_named(head: Head) -> None:
    for ask in (job_server.jobs_status, job_server.jobs_logs, job_server.jobs_stop):
        with pytest.raises(DataError, match="openwit-nothing-1: no such job"):
            ask(head.address, "openwit-nothing-1")


def test_nobody_at_the_address_is_one_line(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(DataError, match="nobody answers") as caught:
        job_server.jobs_list(f"http://127.0.0.1:{port}")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="not of the form"):
        job_server.jobs_list("head:8265")


def test_a_cluster_that_asks_for_no_token_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class OpenToAll:
        def list_jobs(self) -> list[object]:
            return []

    monkeypatch.setattr(job_server, "job_client", lambda address, headers: OpenToAll())
    recipe = tmp_path / "broken.yaml"
    recipe.write_text(BROKEN_RECIPE)
    with pytest.raises(ConfigError, match="takes jobs from anybody"):
        job_server.submit(str(recipe), address="http://127.0.0.1:8265", root=str(tmp_path))


def test_a_relative_root_means_nothing_on_another_machine(tmp_path: Path) -> None:
    recipe = tmp_path / "broken.yaml"
    recipe.write_text(BROKEN_RECIPE)
    with pytest.raises(ConfigError, match="--root runs: another machine"):
        job_server.submit(str(recipe), address="http://head.example:8265", root="runs")


def test_a_package_holds_code_and_recipe_and_no_secret(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    digest = pack(first, "name: x\n")
    assert sorted(path.name for path in first.iterdir()) == [
        "evaluation",
        "orchestration",
        "pipeline",
        "recipe.yaml",
        "training",
    ]
    names = [path.name for path in first.rglob("*")]
    assert "__pycache__" not in names
    assert not [name for name in names if name.startswith(".")]
    assert pack(second, "name: x\n") == digest
    assert pack(tmp_path / "3", "name: y\n") != digest


def str_of_commit() -> str:
    where = commit()
    return where.hexsha + ("-dirty" if where.dirty else "")
