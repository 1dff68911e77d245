"""The one door to Ray of this folder: connecting, Ray Train, and the job server of a cluster.

An embedded Ray is started with a token that lives in this process only, without a dashboard, and ends with its context;
`RAY_ADDRESS` names a cluster to use instead (a job that `submit` sent finds it set). A stranger's Ray on this machine is
never joined. Nothing here remembers what is done: steps, work items and checkpoints do.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestration.job_package import package_folders
from orchestration.ray_surroundings import environment, given_token, own_sigterm, own_token, temporary_folder
from pipeline.errors import ConfigError, DataError, UserError
from pipeline.execution.arenas import ONE_ARENA, part_arenas
from training.config import TrainConfig

OBJECT_STORE_BYTES = 1 << 30

SECONDS_FOR_ROOM = 10.0
"""How long an elastic group waits for the room that Ray has just promised it. Ray looks at its nodes each 20 s and needs as long to
know that one is dead, so what it promises may be gone, and a group that waits for workers on a dead node waits in vain."""

NO_TOKEN = "the cluster wants its token; put it in RAY_AUTH_TOKEN, or the path of its file in RAY_AUTH_TOKEN_PATH"


@contextmanager
def connected(num_cpus: int | None = None) -> Iterator[bool]:
    """Inside, this process is connected to Ray: RAY_ADDRESS's cluster, or an embedded one that ends with the context.

    Gives whether this Ray was started here: nobody else uses it, and it does not grow.

    `num_cpus` is how many logical CPUs an embedded Ray must have at least (two training workers run on one core too, only
    slower). Raises ConfigError or DataError where RAY_ADDRESS cannot be used.
    """
    import ray

    if ray.is_initialized():
        yield False
        return
    address = os.environ.get("RAY_ADDRESS", "")
    is_ours = address in ("", "local")
    with _embedded(num_cpus) if is_ours else _join(address):
        yield is_ours


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
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody reclaims this machine; a process less to start beside the ranks
        "RAY_prestart_worker_first_driver": "0",  # workers for tasks, that actors are never made of: 130 MB each
        ONE_ARENA: "1",
        # A worker imports what this process imports, whether it is installed or a checkout.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(package_folders()[0].parent), os.environ.get("PYTHONPATH")])),
    }
    if token := own_token():
        # Left alone, Ray writes ~/.ray/auth_token readable by everyone; this token is never on a disk. The mode is left to
        # Ray, which reads it when it is imported and turns it on for an embedded cluster by itself.
        added["RAY_AUTH_TOKEN"] = token
    with environment(added), temporary_folder() as folder:
        try:
            with own_sigterm(), _services_that_are_used():
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


@contextmanager
def _services_that_are_used() -> Iterator[None]:
    """Inside, Ray starts no service that nobody asks here: the autoscaler's monitor (this cluster does not grow), the log
    monitor (no log goes to the driver) and, though no dashboard is included, the dashboard's server with its usage reports.

    290 MB, 1.8 s of CPU time and most of the wait for `ray.init`. Ray's own name for each of them; where a version of Ray has
    another, that service is started as ever.
    """
    from ray._private.node import Node

    unused = [name for name in ("start_monitor", "start_log_monitor", "start_api_server") if hasattr(Node, name)]
    before = {name: getattr(Node, name) for name in unused}
    for name in unused:
        setattr(Node, name, lambda self, *arguments, **named: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


def resources() -> dict[str, float]:
    """What the connected Ray has in all, by name."""
    import ray

    return dict(ray.cluster_resources())


def fit(work: str, settings: Mapping[str, Any], config: TrainConfig, folder: Path) -> None:
    """Run `work`, a key of orchestration/rank.py's WORK, in each rank of a Ray Train group until it ends well.

    `folder` is for Ray's own state. Raises the mistake that a rank found, and DataError where workers cannot start or keep
    dying. Blocks; must run inside `connected`.
    """
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig

    launch, gpus = config.launch, gpus_per_worker(config, resources())
    patience = min(launch.start_timeout_seconds, SECONDS_FOR_ROOM if launch.minimum_workers else math.inf)
    timing = {
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(patience),
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    }
    run: Any = RunConfig(  # Any: TorchTrainer's own annotation names the class of Train's first version
        name="train",
        storage_path=str(folder),
        failure_config=FailureConfig(
            max_failures=launch.max_failures,
            max_preemption_failures=launch.max_preemptions,
            relax_collectives_on_preemption=True,
            preemption_grace_s=launch.preemption_grace_seconds,
        ),
        logging_config=LoggingConfig(log_level="CRITICAL"),
    )
    with environment(timing):
        trainer = TorchTrainer(
            _in_rank,
            train_loop_config={"work": work, **settings},
            torch_config=TorchConfig(
                backend="nccl" if gpus else "gloo", timeout_s=int(launch.collective_timeout_seconds)
            ),
            scaling_config=ScalingConfig(
                num_workers=(launch.minimum_workers, config.workers) if launch.minimum_workers else config.workers,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": launch.cpus_per_worker} | ({"GPU": gpus} if gpus else {}),
                elastic_resize_monitor_interval_s=launch.resize_check_seconds,
            ),
            run_config=run,
        )
        try:
            trainer.fit()
        except Exception as error:
            raise _told(error, launch.max_failures) from error


def gpus_per_worker(config: TrainConfig, available: Mapping[str, float]) -> float:
    """GPUs that a rank gets: what the recipe says, else one where there is one for each."""
    if config.launch.gpus_per_worker is not None:
        return config.launch.gpus_per_worker
    return float(available.get("GPU", 0) >= (config.launch.minimum_workers or config.workers))


def _in_rank(settings: dict[str, Any]) -> None:
    import ray.train

    from orchestration.rank import Place, do

    part_arenas()
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), context.get_local_world_size())
    do(place, settings, _seconds_to_preemption)


def _seconds_to_preemption() -> float | None:
    """Until a node of this group is taken away (endless where nobody says when); None while none is. Collective, 3 ms."""
    import ray.train

    info = ray.train.get_preemption_info()
    if info is None:
        return None
    return math.inf if info.deadline_ms is None else max(0.0, info.deadline_ms / 1000 - time.time())


def _told(error: Exception, max_failures: int) -> Exception:
    """The error of a rank as itself, where it has one; else one line."""
    from ray.train.v2.api.exceptions import WorkerGroupError

    if not isinstance(error, WorkerGroupError):
        reason = str(error).strip().split("\n")[-1][:200]
        return DataError(f"training could not go on ({reason}); look at the cluster's nodes and run again")
    rank, failure = sorted(error.worker_failures.items())[0]
    if isinstance(failure, UserError):  # its file could not be written: the disk is full, say
        return failure
    bug = getattr(failure, "_base_exc", None)
    if isinstance(bug, Exception):
        return bug
    return DataError(
        f"training worker {rank} died {max_failures + 1} times ({type(failure).__name__}); is memory short? run again to go on"
        " from the last checkpoint"
    )


class Apart:
    """One function call in a Ray worker of its own, beside everything else: it takes no CPU that others may reserve."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, gpus: float = 0.0) -> None:
        import ray

        self._call = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=2)(function).remote(*arguments)

    def done(self) -> bool:
        import ray

        return bool(ray.wait([self._call], timeout=0)[0])

    def result(self) -> Any:
        """Waits for it. Raises what the function raised, and DataError where its process died."""
        import ray

        try:
            return ray.get(self._call)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        except ray.exceptions.RayError as error:
            raise DataError(f"a process beside the run died ({type(error).__name__}); is memory short?") from error


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
