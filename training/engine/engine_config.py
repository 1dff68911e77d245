"""DeepSpeed's own configuration, from a TrainConfig: what is said to it, and why."""

import sys
from typing import Any

from training.config import TrainConfig
from training.engine.memory_config import Place
from training.engine.memory_estimate import SUB_GROUP
from training.engine.nvme import Disk
from training.engine.ranks import Ranks


def deepspeed_config(config: TrainConfig, ranks: Ranks, parameters: int, disk: Disk | None = None) -> dict[str, Any]:
    """`parameters` are the model's numbers; `disk` is where state goes that is offloaded to NVMe."""
    return {
        "train_batch_size": config.global_batch_size,
        "train_micro_batch_size_per_gpu": config.global_batch_size // ranks.world_size,
        "gradient_accumulation_steps": 1,
        # `step` is the boundary, however many backward passes come before it: what the gradient cache needs.
        "managed_gradient_accumulation": False,
        "gradient_clipping": config.max_gradient_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # torch's fused AdamW does it on CPUs too, with nothing to compile
        "zero_optimization": _zero(config, ranks, parameters, disk),
        "steps_per_print": sys.maxsize,
    }


def _zero(config: TrainConfig, ranks: Ranks, parameters: int, disk: Disk | None) -> dict[str, Any]:
    bucket = min(50_000_000, (parameters // 1024 + 1) * 1024)  # DeepSpeed asks for an even number
    section: dict[str, Any] = {
        "stage": config.zero_stage,
        "overlap_comm": False,
        # DeepSpeed reserves these whole: 2 GB each at its default of 500 million.
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        # Smaller parameters stay whole on every rank; at the default of 100,000 a small model is not cut.
        "stage3_param_persistence_threshold": 10_000,
    }
    memory = config.memory
    if memory.offload_optimizer != "none":
        section["offload_optimizer"] = _place(memory.offload_optimizer, disk, ranks)
    if memory.offload_parameters != "none":
        section["offload_param"] = _place(memory.offload_parameters, disk, ranks)
    if disk is not None:
        section["sub_group_size"] = SUB_GROUP  # at DeepSpeed's default, 10^9, its buffers hold all that is on the disk
    if disk is not None and memory.offload_parameters == "nvme":
        # Left alone, DeepSpeed keeps the first 10^9 numbers in memory, and has five buffers of 10^8.
        section["offload_param"] |= {"max_in_cpu": 0, "buffer_size": disk.buffer_numbers, "buffer_count": disk.buffers}
        # Weights that wait for their next use hold a buffer, and so do those fetched ahead: both end in "not enough buffers".
        section |= {"stage3_max_reuse_distance": 0, "stage3_prefetch_bucket_size": 0}
    return section


def _place(where: Place, disk: Disk | None, ranks: Ranks) -> dict[str, Any]:
    place: dict[str, Any] = {"device": where, "pin_memory": ranks.device.type == "cuda"}
    return place | {"nvme_path": disk.path} if where == "nvme" and disk is not None else place
