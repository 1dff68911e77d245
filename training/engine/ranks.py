"""Ranks: which of the training processes this one is, and what they say to each other.

Works under torchrun and Ray Train (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), under `srun` (SLURM_PROCID
and its kin, MASTER_ADDR exported by the script), and in a plain process, which is a world of one without any port.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed as dist

from pipeline import errors
from pipeline.errors import ConfigError, DataError, UserError

TIMEOUT = timedelta(minutes=30)
GONE = ("onnection closed", "onnection reset", "roken pipe", "remote process", "imed out")
"""Words of gloo and NCCL about a peer that is there no more."""


class OneRankError(DataError):
    """What one rank alone met, while the others wait for it: nobody else can say it."""


@dataclass(frozen=True)
class Ranks:
    """This process's place: `rank` of `world_size`, on `device`."""

    rank: int
    world_size: int
    device: torch.device
    owns_group: bool
    """False where someone else (Ray Train) made the process group and will end it."""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def means(self, values: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Of one-element tensors by name over all ranks, in one exchange; ranks give the same names."""
        if not values:
            return {}
        total = torch.cat([value.detach().float().reshape(1) for value in values.values()])
        if self.world_size > 1:
            dist.all_reduce(total)
        return dict(zip(values, (total / self.world_size).tolist(), strict=True))

    def wait_for_all(self) -> None:
        if self.world_size > 1:
            dist.barrier()

    def mean(self, value: torch.Tensor) -> float:
        """Of a one-element tensor over all ranks: the same float everywhere."""
        total = value.detach().float().reshape(1).clone()
        if self.world_size > 1:
            dist.all_reduce(total)
        return float(total) / self.world_size

    def highest(self, values: Sequence[float]) -> list[float]:
        """The largest of each over all ranks."""
        if self.world_size == 1:
            return list(values)
        found = torch.tensor(values, dtype=torch.float32, device=self.device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return [float(each) for each in found]

    def first_word(self, text: str | None) -> str | None:
        """What the lowest rank says that says anything, on every rank."""
        if self.world_size == 1:
            return text
        said: list[str | None] = [None] * self.world_size
        dist.all_gather_object(said, text)
        return next((each for each in said if each is not None), None)

    def say(self, text: str | None) -> str | None:
        """What the first rank says, on every rank."""
        if self.world_size == 1:
            return text
        box = [text]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Collective: a UserError that any rank raises inside is raised by all, that of the lowest one."""
        mine: UserError | None = None
        try:
            yield
        except UserError as error:
            mine = error
        kind, message = type(mine).__name__, str(mine) if self.is_first else f"rank {self.rank}: {mine}"
        said = self.first_word(None if mine is None else json.dumps([kind, message]))
        if said is None:
            return
        kind, message = json.loads(said)
        raise mine if self.is_first and mine is not None else getattr(errors, kind, UserError)(message)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """A UserError inside is this rank's own matter. Raises OneRankError in its place where it is not the first."""
        try:
            yield
        except UserError as error:
            if self.is_first:
                raise
            raise OneRankError(f"rank {self.rank}: {error}") from error

    def leave(self) -> None:
        # A world of one stays for this process's next training: DeepSpeed remembers the first group for good.
        if self.owns_group and self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def is_of_another_rank(error: RuntimeError) -> bool:
    """Whether it says no more than that a rank is gone for which this one waited."""
    of_ranks = isinstance(error, dist.DistError) or "gloo" in str(error)
    return of_ranks and any(word in str(error) for word in GONE)


def join() -> Ranks:
    """Join the process group this process was started for, making it where there is none.

    Raises ConfigError when the environment names a rank but not where rank 0 is.
    """
    owns = not dist.is_initialized()
    place = _place(os.environ)
    device = _device(place["local_rank"])
    if owns:
        _initialize(place, "nccl" if device.type == "cuda" else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size(), device, owns)


def _place(environment: Mapping[str, str]) -> dict[str, int]:
    for rank, size, local in (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")):
        if rank in environment and size in environment:
            return {
                "rank": int(environment[rank]),
                "world_size": int(environment[size]),
                "local_rank": int(environment.get(local, "0")),
            }
    return {"rank": 0, "world_size": 1, "local_rank": 0}


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Ray shows each worker its own cards only, torchrun shows all of them to each.
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def _initialize(place: Mapping[str, int], backend: str) -> None:
    rank, size = place["rank"], place["world_size"]
    if size == 1:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=TIMEOUT)
        return
    if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        raise ConfigError(
            f"rank {rank} of {size}: MASTER_ADDR and MASTER_PORT are not set; export the first node's name and a free"
            " port, or start with torchrun"
        )
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=TIMEOUT)
