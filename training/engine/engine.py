"""The one door to DeepSpeed: ZeRO 0-3 around a model, on gloo and CPUs or NCCL and GPUs.

What DeepSpeed would do by itself and this file forbids:
- clip gradients at 1.0 (its default when nothing is said);
- count backward passes: gradients simply add up until `update`, so that a step may have any number of them;
- compile a shared-memory collective with g++ on first use, a minute per machine; gloo does its work here;
- move the learning rate: ours is a function of the step (training/optim/schedule.py);
- import MLflow (for its autotuner) and torch's compiler (for Muon), which no training here uses: 3 s of each rank's start;
- print.
"""

import contextlib
import logging
import math
import os
import sys
import warnings
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.engine.engine_config import deepspeed_config
from training.engine.engine_state import EngineState
from training.engine.nvme import Disk, keep_gradients
from training.engine.precision import LossScale, Precise
from training.engine.ranks import Ranks
from training.engine.recompute import compile_blocks, recompute_blocks
from training.models.base import Model
from training.models.clip import MAX_LOGIT_SCALE
from training.optim.average import Average
from training.optim.freeze import freeze
from training.optim.groups import parameter_groups
from training.optim.lora import add_factors, merged
from training.optim.make import make_optimizer

ELEMENTS_PER_ALLREDUCE = 50_000_000


class Engine:
    """A model, its optimizer and its ranks. Every method is collective: all ranks call it.

    `anew` are the names of parameters that no trained model brought: under LoRA they learn in full.
    Raises ConfigError where the config asks for what the model or this machine does not have.
    """

    def __init__(self, model: Model, config: TrainConfig, ranks: Ranks, anew: Collection[str] = ()) -> None:
        self.model = model
        self._ranks = ranks
        self._config = config
        self._stage = config.zero_stage
        deepspeed = _import_deepspeed(ranks, config)
        _prepare(model, config, anew)
        module = Precise(model.to(ranks.device), config.precision)
        optimizer = make_optimizer(parameter_groups(model, config), config)
        numbers = sum(parameter.numel() for parameter in model.parameters())
        with _quiet():
            self._disk = Disk.of(model, config, ranks, deepspeed.accelerator.get_accelerator().create_op_builder)
            settings = deepspeed_config(config, ranks, numbers, self._disk)
            if config.memory.offload_parameters == "nvme":
                # `initialize` does this too, and rounds weights to bfloat16 where a CPU has no float16 (0.19.8, Init._set_dtype).
                deepspeed.zero.Init(module=module, config_dict_or_path=settings)
            self._engine, *_ = deepspeed.initialize(
                model=module, optimizer=optimizer, dist_init_required=False, config=settings
            )
        if config.memory.offload_optimizer == "nvme":
            keep_gradients(self._engine.optimizer.optimizer_swapper)
        self._engine.enable_backward_allreduce = self._stage > 0  # without ZeRO, `update` calls it
        self.loss_scale = LossScale(config.precision)
        self._logit_scale: nn.Parameter | None = getattr(model, "logit_scale", None)
        self._statistics = _moving_statistics(model)
        self.average = Average.of(model, config.optimizer, ranks) if config.optimizer.ema_decay else None
        """The average of the weights, where the config asks for one."""

    def forward(self, *inputs: Tensor) -> Any:
        """The model's outputs, from inputs that are brought to this rank's device."""
        return self._engine(*(each.to(self._ranks.device, non_blocking=True) for each in inputs))

    def backward(self, loss: Tensor) -> None:
        """Adds to the gradients. The scale of float16 is put on here and taken off in `update`."""
        if self.loss_scale.dynamic:
            if self._stage == 0:
                loss = loss * self.loss_scale.value
            else:
                self._engine.optimizer.override_loss_scale(self.loss_scale.value)
        self._engine.backward(loss, scale_wrt_gas=False)

    def update(self, learning_rate: float) -> float:
        """Average gradients over ranks, clip, step; returns the global gradient norm before clipping.

        Where it is not finite, the weights stay as they were and the gradients are dropped. In float16 that is a step
        skipped and the loss scale halved, and 0 is returned, until the scale cannot fall any further.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate * group["rate"]
        norm = self._step_whole() if self._stage == 0 else self._step_cut()
        finite = math.isfinite(norm)
        goes_on = self.loss_scale.after(overflow=not finite)
        if finite:
            self._hold_logit_scale()
            self._agree_on_statistics()
            if self.average is not None:
                self.average.update()
        return norm if finite or not goes_on else 0.0

    def _step_whole(self) -> float:
        """Without ZeRO: gradients lie whole on every rank."""
        self._average_gradients()
        gradients = [p.grad for p in self._engine.module.parameters() if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients)) / self.loss_scale.value
        if math.isfinite(norm):
            if self.loss_scale.value != 1:
                torch._foreach_div_(gradients, self.loss_scale.value)
            self._engine.step()
        else:
            self._engine.zero_grad()
        return norm

    def _average_gradients(self) -> None:
        """Over ranks. A parameter that the loss does not read gets zeros, on one rank too: weight decay holds for it."""
        if self._ranks.world_size > 1:
            self._engine.buffered_allreduce_fallback(elements_per_buffer=ELEMENTS_PER_ALLREDUCE)
            return
        # The fallback copies all gradients to a buffer and back, on one rank as well: a tenth of a ViT-B/32's step on a CPU.
        for parameter in self._engine.module.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def _step_cut(self) -> float:
        """Under ZeRO: DeepSpeed takes the norm over all parts and drops the step by itself where it is not finite."""
        self._engine.step()
        return math.inf if self._engine.optimizer.overflow else float(self._engine.get_global_grad_norm())

    def _hold_logit_scale(self) -> None:
        """Clip logit_scale at ln 100, in the optimizer's own copy too: a clamp in the forward pass would stick there."""
        if self._logit_scale is None or not self._logit_scale.requires_grad:
            return
        if float(self._logit_scale.detach()) <= MAX_LOGIT_SCALE:
            return
        from deepspeed.utils import safe_get_local_fp32_param, safe_set_full_fp32_param, safe_set_local_fp32_param

        limit = torch.full_like(self._logit_scale, MAX_LOGIT_SCALE)
        with torch.no_grad():
            self._logit_scale.copy_(limit)
            if self._stage == 3:
                # By parts, because DeepSpeed's "full" setter fails on the ranks that hold none of a one-element tensor.
                part = safe_get_local_fp32_param(self._logit_scale)
                safe_set_local_fp32_param(self._logit_scale, torch.full_like(part, MAX_LOGIT_SCALE))
                self._logit_scale.ds_tensor.fill_(MAX_LOGIT_SCALE)  # type: ignore[attr-defined]  # DeepSpeed sets it
            elif self._stage > 0:
                safe_set_full_fp32_param(self._logit_scale, limit)

    def _agree_on_statistics(self) -> None:
        """The mean over ranks of batch norms' running statistics, so that they are those of the global batch."""
        if self._ranks.world_size == 1 or not self._statistics or not self.model.training:
            return
        flat = torch.cat([buffer.reshape(-1).float() for buffer in self._statistics])
        torch.distributed.all_reduce(flat)
        parts = (flat / self._ranks.world_size).split([buffer.numel() for buffer in self._statistics])
        for buffer, part in zip(self._statistics, parts, strict=True):
            buffer.copy_(part.view_as(buffer))

    def metrics(self) -> dict[str, float]:
        """What a step shows besides: the loss scale and the steps skipped, in float16."""
        if not self.loss_scale.dynamic:
            return {}
        return {"loss_scale": self.loss_scale.value, "skipped_steps": float(self.loss_scale.skipped_steps)}

    def weights(self) -> dict[str, Tensor]:
        """All that the model's checkpoint holds, by name, on the CPU, for the first rank; empty on the others.

        Parameters as they are in a model without LoRA, and persistent buffers (batch statistics, a palette).
        """
        out = {}
        for name, parameter in self.model.named_parameters():
            with self._whole(parameter):  # one at a time: no rank but the first ever holds more
                if self._ranks.is_first:
                    out[name] = parameter.detach().cpu().clone()
        if not self._ranks.is_first:
            return {}
        if self._config.optimizer.lora.rank:
            out = merged(out, self._config.optimizer.lora)
        return out | {name: buffer.cpu().clone() for name, buffer in _persistent_buffers(self.model).items()}

    def averaged_weights(self) -> dict[str, Tensor]:
        """As `weights`, with the average in place of the parameters; empty where the config asks for none."""
        if self.average is None:
            return {}
        out = self.average.whole()
        if not self._ranks.is_first:
            return {}
        return out | {name: buffer.cpu().clone() for name, buffer in _persistent_buffers(self.model).items()}

    def _whole(self, parameter: nn.Parameter) -> contextlib.AbstractContextManager[Any]:
        if self._stage < 3:
            return contextlib.nullcontext()
        import deepspeed

        gathered: contextlib.AbstractContextManager[Any] = deepspeed.zero.GatheredParameters([parameter])
        return gathered

    def state(self) -> EngineState:
        """Weights, moments and counts of this rank, for a checkpoint."""
        return EngineState(self._engine, self.model, self._ranks, self.average, self.loss_scale)

    def close(self) -> None:
        self._engine.destroy()
        if self._disk is not None:
            self._disk.close()


def _prepare(model: Model, config: TrainConfig, anew: Collection[str]) -> None:
    """What is done to a model from outside, before any rank cuts it."""
    if config.optimizer.lora.rank:
        add_factors(model, config.optimizer.lora, anew)
    freeze(model, config.freeze)
    if config.memory.activation_checkpointing:
        recompute_blocks(model)
    if config.memory.compile:
        compile_blocks(model)


def _moving_statistics(model: nn.Module) -> list[Tensor]:
    """Of batch norms that learn: those of a locked tower stand still, and a mean of three equal numbers rounds."""
    named = (
        (name, buffer) for part in model.modules() if part.training for name, buffer in part.named_buffers("", False)
    )
    return [buffer for name, buffer in named if name in ("running_mean", "running_var")]


def _persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that a checkpoint holds; constants that are made again are not among them."""
    parameters = {name for name, _ in model.named_parameters()}
    kept = [name for name in model.state_dict(keep_vars=True) if name not in parameters]
    buffers = dict(model.named_buffers())
    return {name: buffers[name] for name in kept}


def _import_deepspeed(ranks: Ranks, config: TrainConfig) -> Any:
    os.environ.setdefault("LOCAL_RANK", str(ranks.device.index or 0))  # it insists, even on a world of one
    if ranks.device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with _quiet():
        deepspeed = _deepspeed()
        if ranks.device.type == "cpu":
            # An empty table of compilable operators: otherwise init_distributed builds deepspeed_shm_comm_op.
            deepspeed.ops.__compatible_ops__ = {}
        warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
        deepspeed.init_distributed(
            dist_backend="gloo" if ranks.device.type == "cpu" else "nccl",
            auto_mpi_discovery=False,
            dist_init_required=False,
        )
    return deepspeed


def _deepspeed() -> Any:
    """The package, without what it imports and no training here uses: MLflow for its autotuner, and the compiler for Muon."""
    without_mlflow = "mlflow" not in sys.modules
    if without_mlflow:
        sys.modules["mlflow"] = None  # type: ignore[assignment]  # an ImportError, which it expects
    try:
        import deepspeed
    finally:
        if without_mlflow:
            del sys.modules["mlflow"]
    from deepspeed.runtime import compiler

    compiling, compiler.compile = compiler.compile, lambda: lambda kernel: kernel
    try:
        with contextlib.suppress(ImportError):
            import deepspeed.runtime.zero.muon.muon_optimizer  # ZeRO asks of each optimizer whether it is that one
    finally:
        compiler.compile = compiling
    return deepspeed


@contextlib.contextmanager
def _quiet() -> Any:
    """DeepSpeed logs each start in tens of lines, to stdout, and warns of each step that float16 skips."""
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):
        yield
