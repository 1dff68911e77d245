"""The job server of a Ray cluster: send a recipe as a Ray Job, list, follow and stop jobs.

Ray keeps a job's state and its log on the head node and forgets both with it; what the job made lies under its root and is
found again by the next run of the same recipe. Facts about Ray's stop, streams and upload: infra/README.md.
"""

import asyncio
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestration.cluster import RefusedError, UnreachableError, job_client, one_line
from orchestration.job_package import commit, pack
from orchestration.ray_surroundings import given_token
from pipeline import storage
from pipeline.errors import ConfigError, DataError

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_A_STREAM_MAY_BE_SILENT = 60
SECONDS_A_SERVER_MAY_BE_AWAY = 60


@dataclass(frozen=True)
class Job:
    """One submitted run on a cluster, as its job server tells it."""

    job: str
    status: str
    recipe: str
    commit: str
    root: str
    started: str
    message: str


def submit(recipe: str, sets: Sequence[str] = (), *, address: str, root: str, insecure: bool = False) -> Job:
    """Send a recipe to the job server at `address`, and return at once; `root` holds the output as in a local run.

    The four source folders and the merged recipe travel; secrets do not (`${env:NAME}` is filled in on the cluster).
    Sent again while it still runs it is refused; sent again later it goes on where it ended. Raises ConfigError or
    DataError: a wrong recipe, no token or a wrong one, nobody there, a cluster that asks nobody for a token
    (unless `insecure`).
    """
    from orchestration.recipe import load, written_yaml

    loaded = load(recipe, sets)
    local = _is_loopback(address)
    root = _job_root(root, local)
    if not insecure:
        _refuse_open(address)
    client = _client(address)
    with tempfile.TemporaryDirectory(prefix="openwit-job-") as folder:
        digest = pack(Path(folder), written_yaml(recipe, sets))
        name = f"openwit-{loaded.name}-{storage.sha256(f'{digest} {root}'.encode())[:12]}"
        attempt = _next_attempt(client, address, name)
        python = sys.executable if local else "python"
        where = commit()
        with one_line(address):
            job = client.submit_job(
                entrypoint=shlex.join([python, "-m", "orchestration.cli", "run", "recipe.yaml", "--root", root]),
                submission_id=f"{name}-{attempt}",
                runtime_env={
                    "working_dir": folder,
                    # Ray's own grace of 3 s is shorter than a checkpoint takes.
                    "env_vars": {"OPENWIT_COMMIT": str(where), "RAY_JOB_STOP_WAIT_TIME_S": "30"},
                },
                metadata={
                    "recipe": loaded.name,
                    "root": root,
                    "commit": where.hexsha,
                    "dirty": str(where.dirty).lower(),
                },
            )
    return jobs_status(address, job)


def jobs_list(address: str) -> list[Job]:
    """Every job that was submitted to this cluster, newest first."""
    with one_line(address):
        details = _client(address).list_jobs()
    submitted = [each for each in details if each.submission_id]
    return [_job(each) for each in sorted(submitted, key=lambda each: each.start_time or 0, reverse=True)]


def jobs_status(address: str, job: str) -> Job:
    """One job. Raises DataError where the cluster does not know it."""
    with one_line(address, job):
        return _job(_client(address).get_job_info(job))


def jobs_stop(address: str, job: str) -> Job:
    """Ask a job to stop; it has 30 s to save its state. Done once more, or to a job that has ended, it changes nothing."""
    client = _client(address)
    with one_line(address, job):
        client.stop_job(job)
    return jobs_status(address, job)


def jobs_logs(address: str, job: str, follow: bool = False, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Write what a job has printed; with `follow` until it has ended, returning its exit code (STOPPED: 143).

    The end of a stream of Ray's is not the end of its job (ray#57002, ray#60665), so the status alone decides: a stream
    that ends early is opened again, and what was written already is skipped.
    """
    client = _client(address)
    written = 0

    def write_from(text: str, position: int) -> None:
        nonlocal written
        if new := text[max(0, written - position) :]:
            write(new)
            sys.stdout.flush()
            written = position + len(text)

    async def stream() -> None:
        position = 0
        texts = client.tail_job_logs(job)
        while True:
            try:
                text = await asyncio.wait_for(anext(texts), SECONDS_A_STREAM_MAY_BE_SILENT)
            except Exception:  # whatever ended it, the status says whether the job did
                return
            write_from(text, position)
            position += len(text)

    while follow and not _patiently(lambda: client.get_job_status(job), address, job).is_terminal():
        asyncio.run(stream())
        time.sleep(SECONDS_BETWEEN_LOOKS)
    write_from(_patiently(lambda: client.get_job_logs(job), address, job), 0)  # streams lose last lines (ray#48701)
    details = _patiently(lambda: client.get_job_info(job), address, job)
    if not follow or details.status == "SUCCEEDED":
        return 0
    return 143 if details.status == "STOPPED" else details.driver_exit_code or 1


def _patiently(ask: Callable[[], Any], address: str, job: str) -> Any:
    """The answer, from a server that may be away for a minute."""
    patience = time.monotonic() + SECONDS_A_SERVER_MAY_BE_AWAY
    while True:
        try:
            with one_line(address, job):
                return ask()
        except UnreachableError:
            if time.monotonic() > patience:
                raise
            time.sleep(1)


def _job(details: Any) -> Job:
    told = details.metadata or {}
    commit_told = told.get("commit", "") + ("-dirty" if told.get("dirty") == "true" else "")
    started = datetime.fromtimestamp((details.start_time or 0) / 1000, timezone.utc).isoformat(timespec="seconds")
    message = " ".join((details.message or "").split())[:300]
    status = getattr(details.status, "value", str(details.status))
    return Job(
        details.submission_id, status, told.get("recipe", ""), commit_told, told.get("root", ""), started, message
    )


def _next_attempt(client: Any, address: str, name: str) -> int:
    """1, 2, ...; raises DataError while an earlier attempt has not ended."""
    with one_line(address):
        earlier = [each for each in client.list_jobs() if (each.submission_id or "").startswith(f"{name}-")]
    for each in earlier:
        if not each.status.is_terminal():
            raise DataError(
                f"{each.submission_id}: the same recipe, code and root is {each.status.value} already;"
                f" follow it with `openwit jobs logs {each.submission_id} -f --address {address}`, or stop it first"
            )
    return 1 + max((int(each.submission_id.rsplit("-", 1)[1]) for each in earlier), default=0)


def _is_loopback(address: str) -> bool:
    return urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")


def _job_root(root: str, local: bool) -> str:
    if "://" in root or os.path.isabs(root):
        return root
    if local:
        return os.path.abspath(root)
    raise ConfigError(
        f"--root {root}: another machine does not know that folder; give an absolute path it mounts, or a URL"
    )


def _client(address: str) -> Any:
    """A client of the job server, with the user's token. Raises ConfigError or DataError in one line."""
    token = given_token()
    with one_line(address):
        return job_client(address, {"Authorization": f"Bearer {token}"} if token else {})


def _refuse_open(address: str) -> None:
    """Raises ConfigError where a wrong token is good enough: whoever reaches that port runs what they like."""
    try:
        with one_line(address):
            job_client(address, {"Authorization": "Bearer nobody"}).list_jobs()
    except RefusedError:
        return
    raise ConfigError(
        f"{address}: takes jobs from anybody without a token; start that cluster with RAY_AUTH_MODE=token,"
        " or say --insecure-cluster"
    )
