"""Memory that ran out, as one line that says what to change, with the numbers."""

import contextlib
from collections.abc import Iterator

import torch

from pipeline.errors import DataError
from training.config import TrainConfig
from training.engine.memory_estimate import estimate
from training.specs.base import ModelSpec

GIB = 2**30


@contextlib.contextmanager
def explained(config: TrainConfig, spec: ModelSpec, world_size: int, device: torch.device) -> Iterator[None]:
    """Raises DataError in place of torch's and Python's own words for memory that ran out inside."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        raise DataError(advice(config, spec, world_size, _held(device))) from error


def _is_memory(error: BaseException) -> bool:
    words = ("DefaultCPUAllocator", "not enough memory", "out of memory", "Cannot allocate memory")
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def _held(device: torch.device) -> str:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{(total - free) / GIB:.1f} of the GPU's {total / GIB:.1f} GiB are taken"
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / GIB:.1f} of the machine's {memory.total / GIB:.1f} GiB are free"


def advice(config: TrainConfig, spec: ModelSpec, world_size: int, held: str) -> str:
    """What to change first: activations are the batch's, states are the model's."""
    now = estimate(spec, config, world_size)
    rows, memory = config.global_batch_size // world_size, config.memory
    ways = []
    if memory.chunks < rows:
        halves = (
            next(n for n in range(2 * memory.chunks, rows + 1) if rows % n == 0) if 2 * memory.chunks <= rows else rows
        )
        ways.append(f"train.memory.chunks {halves} in place of {memory.chunks}")
    if not memory.activation_checkpointing:
        ways.append("train.memory.activation_checkpointing true")
    states = []
    if config.zero_stage < 3 and world_size > 1:
        states.append(f"train.zero_stage {config.zero_stage + 1}")
    if memory.offload_optimizer == "none":
        states.append("train.memory.offload_optimizer cpu" + (" with zero_stage 1" if config.zero_stage == 0 else ""))
    if world_size < rows * world_size:
        states.append("more workers")
    ways = ways + states if now.activations >= now.states else states + ways
    return (
        f"out of memory ({held}): {config.model} needs about {now.states / GIB:.1f} GiB for its states at ZeRO"
        f" {config.zero_stage} on {world_size} rank{'s' * (world_size > 1)} and {now.activations / GIB:.1f} GiB for the"
        f" activations of {-(-rows // memory.chunks):,} samples per rank; try {', or '.join(ways[:3])}"
    )
