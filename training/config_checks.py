"""Values of a TrainConfig that cannot be together: each check says in one line what to change, or nothing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from training.saving.best_metric import never_measured
from training.spec import REGISTRY
from training.unread_keys import unread

if TYPE_CHECKING:
    from training.config import TrainConfig


def mistakes(config: "TrainConfig") -> Iterator[str]:
    """The lines of all checks that fail, the first mistake first."""
    yield from _pictures(config)
    yield from _steps(config)
    yield from _shares(config)
    yield from _stages(config)
    yield from _adapts(config)
    if (line := never_measured(config, config.watch.evaluate_every_steps > 0)) is not None:
        yield line
    yield from unread(config)


def _pictures(config: "TrainConfig") -> Iterator[str]:
    if config.image_size is None:
        return
    try:
        REGISTRY[config.model].with_image_size(config.image_size)
    except ConfigError as error:
        yield f"image_size {config.image_size}: {error}"


def _steps(config: "TrainConfig") -> Iterator[str]:
    if config.steps is None:
        return
    if config.warmup_steps >= config.steps:
        yield (
            f"warmup_steps is {config.warmup_steps} and steps only {config.steps}: the learning rate would never arrive;"
            " lower warmup_steps"
        )
    elif config.warmup_steps + config.cooldown_steps > config.steps:
        yield (
            f"warmup_steps {config.warmup_steps} and cooldown_steps {config.cooldown_steps} are more than steps"
            f" {config.steps}; lower cooldown_steps"
        )


def _shares(config: "TrainConfig") -> Iterator[str]:
    if config.global_batch_size % config.workers:
        yield (
            f"global_batch_size {config.global_batch_size:,} cannot be shared by {config.workers} workers;"
            " choose a multiple"
        )
        return
    rows = config.global_batch_size // config.workers
    if rows % config.memory.chunks:
        yield (
            f"memory.chunks {config.memory.chunks} does not divide the {rows:,} samples of each of {config.workers}"
            " workers; choose a divisor"
        )


def _adapts(config: "TrainConfig") -> Iterator[str]:
    rank = config.optimizer.lora.rank
    if config.start_from_state and config.start_from is None:
        yield "start_from_state is true and start_from names no run; name one in start_from, or unset start_from_state"
    if config.start_from_state and rank:
        yield (
            f"start_from_state goes on with all moments, and optimizer.lora.rank is {rank}, whose factors are other parameters;"
            " unset one of the two"
        )
    if rank and config.start_from is None:
        yield (
            f"optimizer.lora.rank is {rank} and start_from names no trained model, so the factors would adapt random weights;"
            " name one in start_from, or set optimizer.lora.rank to 0"
        )


def _stages(config: "TrainConfig") -> Iterator[str]:
    stage, memory, kind = config.zero_stage, config.memory, config.optimizer.kind
    if memory.offload_optimizer != "none" and stage < 1:
        yield f"memory.offload_optimizer is {memory.offload_optimizer} and zero_stage 0 cuts no optimizer; set zero_stage to 1"
    if memory.offload_optimizer == "nvme" and stage < 3:
        yield f"memory.offload_optimizer nvme needs zero_stage 3 (this is {stage}); set it, or offload to cpu"
    if memory.offload_parameters != "none" and stage < 3:
        yield f"memory.offload_parameters {memory.offload_parameters} needs zero_stage 3 (this is {stage}); set it, or none"
    if memory.compile and stage == 3:
        yield "memory.compile does not go with zero_stage 3, whose weights come and go; set zero_stage to 2 or compile to false"
    if kind in ("adafactor", "lamb") and stage > 0:
        yield (
            f"optimizer.kind {kind} looks at whole matrices, which zero_stage {stage} cuts; set zero_stage to 0"
            " or optimizer.kind to adamw"
        )
    if config.optimizer.ema_decay and memory.offload_parameters == "nvme":
        yield "optimizer.ema_decay reads all weights each step, which offload_parameters nvme keeps on disk; unset one"
