"""The disk of ZeRO-Infinity (Rajbhandari et al. 2021, arXiv:2104.07857): whether it can be used, and what goes there."""

import contextlib
import fcntl
import os
import resource
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.engine.async_io import build
from training.engine.memory_estimate import SUB_GROUP
from training.engine.ranks import Ranks

FLOAT = 4
SMALLEST_BYTES = 2**20
"""DeepSpeed keeps smaller pieces in memory."""
SPARE_BUFFERS = 4
"""For weights that stay a while after their use, such as those of a layer whose input has no gradient."""
IPC_LOCK = 14  # the bit of CAP_IPC_LOCK in CapEff: see capabilities(7)


class Disk:
    """This rank's folder on the disk, and what of the model goes there. `close` empties it.

    `builder` makes DeepSpeed's builders by name. Raises ConfigError where DeepSpeed could not read and write there.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, ranks: Ranks, builder: Callable[[str], Any]) -> None:
        assert config.memory.nvme_path is not None
        self.buffer_numbers, self.buffers = _held_at_once(model, ranks.world_size)
        _require_locked_memory(self._locked_bytes(model, config, ranks.world_size))
        build(builder, on_cpu=ranks.device.type == "cpu")
        self.path, self._lock = _own_folder(Path(config.memory.nvme_path))

    @classmethod
    def of(cls, model: nn.Module, config: TrainConfig, ranks: Ranks, builder: Callable[[str], Any]) -> "Disk | None":
        wanted = "nvme" in (config.memory.offload_optimizer, config.memory.offload_parameters)
        return cls(model, config, ranks, builder) if wanted else None

    def _locked_bytes(self, model: nn.Module, config: TrainConfig, ranks: int) -> int:
        """DeepSpeed's buffers: four of a sub-group for the optimizer; one more, and some of a weight, for the parameters."""
        group = FLOAT * min(SUB_GROUP, sum(each.numel() for each in model.parameters()) // ranks)
        optimizer = 4 * group if config.memory.offload_optimizer == "nvme" else 0
        weights = group + FLOAT * self.buffers * self.buffer_numbers
        return optimizer + (weights if config.memory.offload_parameters == "nvme" else 0)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _held_at_once(model: nn.Module, ranks: int) -> tuple[int, int]:
    """(Numbers of the largest piece of a weight that goes to the disk, how many of such are in memory at a time).

    A module holds its own weights while the modules inside it run.
    """

    def pieces(module: nn.Module) -> list[int]:
        own = [-(-each.numel() // ranks) for each in module.parameters(recurse=False)]
        return [numbers for numbers in own if FLOAT * numbers >= SMALLEST_BYTES]

    def deepest(module: nn.Module) -> int:
        return len(pieces(module)) + max((deepest(inner) for inner in module.children()), default=0)

    largest = max((numbers for module in model.modules() for numbers in pieces(module)), default=1)
    return largest, deepest(model) + SPARE_BUFFERS


def _require_locked_memory(needed: int) -> None:
    """DeepSpeed ends the process without a word where it may not lock its buffers."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY or needed <= limit or _may_lock():
        return
    raise ConfigError(
        f"train.memory: an offload to nvme locks {needed / 2**20:,.0f} MiB of each rank in memory, and {limit / 2**20:,.0f} MiB"
        f" are allowed here; allow it (ulimit -l unlimited; docker run --ulimit memlock=-1), or offload to cpu"
    )


def _may_lock() -> bool:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> IPC_LOCK & 1)
    return False


def _own_folder(parent: Path) -> tuple[str, int]:
    """A folder of this rank's own, and the lock that tells others it is in use. What killed runs left is deleted."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for each in parent.glob("openwit-*"):
            with contextlib.suppress(OSError):
                os.close(_locked(each))
                shutil.rmtree(each, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
        lock = _locked(new)
        _require_direct(new)
        return str(new.rename(parent / new.name.replace("new-", "openwit-"))), lock
    except OSError as error:
        raise ConfigError(
            f"train.memory.nvme_path {parent}: {error.strerror or error}; name a folder on a local disk that can be written to,"
            f" or offload to cpu"
        ) from error


def _locked(folder: Path) -> int:
    """A descriptor of the folder's lock. Raises OSError where another process holds it."""
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_direct(folder: Path) -> None:
    """DeepSpeed goes past the page cache, which some file systems (older tmpfs) do not offer. Raises OSError there."""
    path = folder / "direct"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    path.unlink()


def keep_gradients(swapper: Any) -> None:
    """Lets DeepSpeed's swapper hold gradients in memory, where they have been until the update, and not write them to the disk.

    It reads them back to wherever they stand among their group's, and a read past the page cache must begin at a multiple of 512
    bytes: what begins elsewhere is not read, nobody is told, and the weights move by what lay there before (0.19.8; losses of
    a small CLIP differ by 0.2 after ten steps).
    """

    def keep(parameter: Any, gradient_offsets: list[int], gradient_tensors: list[Tensor]) -> None:
        known = swapper.swap_params_info[swapper.parameter_id(parameter)]
        known.unswapped_gradients |= dict(zip(gradient_offsets, gradient_tensors, strict=True))

    swapper.swap_out_gradients = keep


def fetched(parameter: Any) -> contextlib.AbstractContextManager[None]:
    """Inside, this rank's piece of a weight under ZeRO 3 is in memory, wherever it lies; what is written to it stays."""
    if parameter.ds_tensor.final_location != "nvme":
        return contextlib.nullcontext()
    return _Brought(parameter)


class _Brought(contextlib.AbstractContextManager[None]):
    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter

    def __enter__(self) -> None:
        self._parameter.nvme_swapper.swap_in([self._parameter], async_op=False)

    def __exit__(self, *error: object) -> None:
        self._parameter.nvme_swapper.swap_out_and_release([self._parameter])
