"""LaunchConfig: the `train.launch` section of a recipe: where ranks run and what they survive. Changes no result."""

from pydantic import Field

from pipeline.settings import Settings


class LaunchConfig(Settings):
    """How Ray starts the ranks, and what it does when some of them go."""

    minimum_workers: int | None = Field(default=None, ge=1)
    """Elastic: go on with as few as this many workers while nodes are missing, and take more again up to `train.workers`
    when they come; the global batch stays as it is. null: always exactly `train.workers`."""
    gpus_per_worker: float | None = Field(default=None, ge=0)
    """GPUs that each rank reserves; null is 1 where the cluster has one for every worker, else 0."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """CPUs that each rank reserves: its own thread and its loader's."""
    max_failures: int = Field(default=3, ge=-1)
    """Times that dead workers are replaced, from the last checkpoint; -1 is without end."""
    max_preemptions: int = Field(default=-1, ge=-1)
    """Times that nodes may be reclaimed with notice; these are not failures. -1 is without end, Ray's own default."""
    preemption_grace_seconds: float = Field(default=30.0, ge=0)
    """How long the ranks that stay may still write their part of a checkpoint after the others' nodes are gone."""
    start_timeout_seconds: float = Field(default=600.0, gt=0)
    """How long Ray waits for room for all workers of a group before it asks anew: an autoscaler's nodes take longer than Ray's own
    60. A group with `minimum_workers` asks for no more than is there, and waits 10 s at most."""
    collective_timeout_seconds: float = Field(default=1800.0, gt=0)
    """After which a rank that waits for another gives up (torch's own: 600 on GPUs)."""
    resize_check_seconds: float = Field(default=60.0, gt=0)
    """How often an elastic run looks whether it can have more workers; a resize goes on from the last checkpoint."""
