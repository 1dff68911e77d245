"""The one door to Ray of this folder: connecting, Ray Train, and the job server of a cluster.

An embedded Ray is started with a token that lives in this process only, without a dashboard, and ends with its context;
`RAY_ADDRESS` names a cluster to use instead (a job that `submit` sent finds it set). A stranger's Ray on this machine is
never joined. Nothing here remembers what is done: steps, work items and checkpoints do.
"""

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestration.job_package import package_folders
from orchestration.ray_surroundings import environment, given_token, own_sigterm, own_token, temporary_folder
from orchestration.tail import Tail
from pipeline import errors, storage
from pipeline.errors import ConfigError, DataError, UserError
from training.config import TrainConfig

OBJECT_STORE_BYTES = 1 << 30
SECONDS_BETWEEN_LOOKS = 0.2
MISTAKE = "mistake.json"

NO_TOKEN = "the cluster wants its token; put it in RAY_AUTH_TOKEN, or the path of its file in RAY_AUTH_TOKEN_PATH"

OnStep = Callable[[Mapping[str, Any]], None]


@contextmanager
def connected(num_cpus: int | None = None) -> Iterator[None]:
    """Inside, this process is connected to Ray: RAY_ADDRESS's cluster, or an embedded one that ends with the context.

    `num_cpus` is how many logical CPUs an embedded Ray must have at least (two training workers run on one core too, only
    slower). Raises ConfigError or DataError where RAY_ADDRESS cannot be used.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "")
    with _join(address) if address and address != "local" else _embedded(num_cpus):
        yield


@contextmanager
def _join(address: str) -> Iterator[None]:
    import ray

    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"RAY_ADDRESS={address}: that is a dashboard; give host:port, or use `openwit submit --address`"
        )
    options: dict[str, Any] = {}
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:  # a job has brought its code already
        modules = [str(folder) for folder in package_folders()]
        options["runtime_env"] = {"py_modules": modules, "excludes": ["**/__pycache__", "**/.*"]}
    try:
        with own_sigterm():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except ray.exceptions.AuthenticationError as error:
        raise ConfigError(f"RAY_ADDRESS={address}: {NO_TOKEN}") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise DataError(f"RAY_ADDRESS={address}: no Ray there ({reason}); start it, or unset RAY_ADDRESS") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _embedded(num_cpus: int | None) -> Iterator[None]:
    import ray

    added = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # A worker imports what this process imports, whether it is installed or a checkout.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(package_folders()[0].parent), os.environ.get("PYTHONPATH")])),
    }
    if token := own_token():
        # Left alone, Ray writes ~/.ray/auth_token readable by everyone; this token is never on a disk. The mode is left to
        # Ray, which reads it when it is imported and turns it on for an embedded cluster by itself.
        added["RAY_AUTH_TOKEN"] = token
    with environment(added), temporary_folder() as folder:
        try:
            with own_sigterm():
                ray.init(
                    address="local",
                    num_cpus=max(2, len(os.sched_getaffinity(0)), num_cpus or 0),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=folder,
                    _node_ip_address="127.0.0.1",
                )
            yield
        finally:
            ray.shutdown()


def train_on_ray(
    config: TrainConfig, manifest_folder: str, folder: str, on_step: OnStep | None = None, max_failures: int = 3
) -> None:
    """Train on `config.workers` Ray Train workers; the checkpoint is in `folder`/checkpoint when this returns.

    `folder` is a disk that every node sees. `on_step` gets each line of `folder`/steps.jsonl once, in this thread. A worker
    that dies is replaced and training goes on from its last checkpoint, `max_failures` times. Must run inside `connected`.
    Raises: the ConfigError or DataError that a worker raised; DataError where workers cannot start or keep dying.
    """
    import ray

    if not storage.is_local(folder):
        raise ConfigError(f"{folder}: training writes its checkpoints to a disk; give a --root that every node mounts")
    folder = os.path.abspath(folder.removeprefix("file://"))
    if storage.is_local(manifest_folder):
        manifest_folder = os.path.abspath(manifest_folder.removeprefix("file://"))
    resources = ray.cluster_resources()
    cpus = int(resources.get("CPU", 0))
    if config.workers > cpus:  # Ray would wait for ever, and say nothing
        raise ConfigError(f"train.workers {config.workers}: this Ray has {cpus} CPUs; set train.workers={cpus} or less")
    own = Path(folder) / "ray"
    shutil.rmtree(own, ignore_errors=True)  # a half-written state of Ray's would stop it at every start
    own.mkdir(parents=True)
    outcome: list[BaseException | None] = []
    settings = {"config": config.model_dump(mode="json"), "manifest_folder": manifest_folder, "folder": folder}
    use_gpu = resources.get("GPU", 0) >= config.workers
    # In a thread of its own, so that Ctrl-C and SIGTERM stay with the command line.
    fitting = threading.Thread(
        target=_fit, args=(settings, config.workers, use_gpu, max_failures, own, outcome), daemon=True, name="ray-train"
    )
    tail = Tail(os.path.join(folder, "steps.jsonl"))
    fitting.start()
    while True:
        running = fitting.is_alive()  # asked before the file is read, so that the last lines are never missed
        for line in tail.new_lines():
            if on_step is not None:
                on_step(line)
        if not running:
            break
        fitting.join(SECONDS_BETWEEN_LOOKS)
    try:
        _raise_mistake(own)
        if outcome and outcome[0] is not None:
            _raise_failure(outcome[0], max_failures)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _fit(
    settings: dict[str, Any],
    workers: int,
    use_gpu: bool,
    max_failures: int,
    own: Path,
    outcome: list[BaseException | None],
) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import LoggingConfig

    timing = {
        # DeepSpeed may compile an operator at first use: Ray's 60 s are too few.
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    }
    quiet: dict[str, Any] = {"logging_config": LoggingConfig(log_level="CRITICAL")}
    try:
        with environment(timing):
            TorchTrainer(
                _rank,
                train_loop_config=settings,
                torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=workers, use_gpu=use_gpu, resources_per_worker={"CPU": 1, "GPU": int(use_gpu)}
                ),
                run_config=RunConfig(
                    name="train",
                    storage_path=str(own),
                    failure_config=FailureConfig(max_failures=max_failures),
                    **quiet,
                ),
            ).fit()
        outcome.append(None)
    except BaseException as error:
        outcome.append(error)


def _rank(settings: dict[str, Any]) -> None:
    """One training worker. It never calls ray.train.report, which costs up to 2 s each: steps.jsonl is the report."""
    mistake = Path(settings["folder"]) / "ray" / MISTAKE
    if mistake.exists():
        return  # started again after a mistake that trying again cannot mend
    import ray.train

    from training.run import run

    context = ray.train.get_context()
    os.environ.setdefault("LOCAL_SIZE", str(context.get_local_world_size()))
    try:
        run(
            TrainConfig.model_validate(settings["config"]),
            settings["manifest_folder"],
            settings["folder"],
            is_first=context.get_world_rank() == 0,
        )
    except UserError as error:
        storage.write_json(str(mistake), {"kind": type(error).__name__, "message": str(error)})
        raise


def _raise_mistake(own: Path) -> None:
    """The UserError that a worker left behind, as itself."""
    if (own / MISTAKE).exists():
        said = storage.read_json(str(own / MISTAKE))
        raise getattr(errors, said["kind"], UserError)(said["message"])


def _raise_failure(error: BaseException, max_failures: int) -> None:
    from ray.train.v2.api.exceptions import WorkerGroupError

    if not isinstance(error, WorkerGroupError):
        reason = str(error).strip().split("\n")[-1][:200]
        raise DataError(f"training could not go on ({reason}); look at the cluster's nodes and run again") from error
    rank, failure = sorted(error.worker_failures.items())[0]
    if isinstance(failure, UserError):  # its file could not be written: the disk is full, say
        raise failure
    bug = getattr(failure, "_base_exc", None)
    if isinstance(bug, Exception):
        raise bug from failure
    raise DataError(
        f"training worker {rank} died {max_failures + 1} times ({type(failure).__name__}); is memory short? run again to go on"
        " from the last checkpoint"
    ) from error


def job_client(address: str, headers: dict[str, str]) -> Any:
    """Ray's JobSubmissionClient for the dashboard at `address`, with exactly these headers."""
    from ray.job_submission import JobSubmissionClient

    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"--address {address}: not of the form http://host:8265")
    logging.getLogger("ray.dashboard").setLevel(logging.ERROR)
    # Ray would let these two override the address that was given.
    with environment({"RAY_ADDRESS": "", "RAY_API_SERVER_ADDRESS": ""}):
        return JobSubmissionClient(address, headers=headers)


class RefusedError(ConfigError):
    """A cluster wants a token, or another one."""


class UnreachableError(DataError):
    """Nobody answers at a cluster's address."""


@contextmanager
def one_line(address: str, job: str = "") -> Iterator[None]:
    """Errors of Ray's job client as one line each."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except UserError:
        raise
    except AuthenticationError as error:
        wrong = f"the cluster refuses this token; {NO_TOKEN.split('; ')[1]}"
        raise RefusedError(f"{address}: {NO_TOKEN if given_token() is None else wrong}") from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # those of requests are OSErrors
        if isinstance(error, OSError) and getattr(error, "response", None) is None:
            raise UnreachableError(
                f"{address}: nobody answers; is the cluster up, and is that the address of its dashboard?"
            ) from error
        text = " ".join(str(error).split())
        if job and ("404" in text or "does not exist" in text):
            raise DataError(f"{job}: no such job at {address}; `openwit jobs list` shows them") from error
        if "already exists" in text:
            raise DataError(f"{address}: somebody has just sent the same job; `openwit jobs list` shows it") from error
        raise DataError(f"{address}: no answer of a Ray job server ({text[-200:]}); check the address") from error
