"""The one door to DeepSpeed: ZeRO 0-3 around a model, on gloo and CPUs or NCCL and GPUs.

What DeepSpeed would do by itself and this file forbids:
- clip gradients at 1.0 (its default when nothing is said);
- compile a shared-memory collective with g++ on first use, a minute per machine; gloo does its work here;
- move the learning rate: ours is a function of the step (training/optim/schedule.py);
- print.
"""

import contextlib
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.models.base import Model
from training.models.clip import MAX_LOGIT_SCALE
from training.ranks import Ranks


class _Precise(nn.Module):
    """The model under the configured precision; logits and loss stay outside of it, in float32."""

    def __init__(self, model: Model, precision: str) -> None:
        super().__init__()
        self.model = model
        self.reduced = precision == "bfloat16"

    def forward(self, *inputs: Tensor) -> Any:
        with torch.autocast(inputs[0].device.type, dtype=torch.bfloat16, enabled=self.reduced):
            return self.model(*inputs)


class Engine:
    """A model, its optimizer and its ranks. Every method is collective: all ranks call it."""

    def __init__(self, model: Model, config: TrainConfig, ranks: Ranks) -> None:
        self.model = model
        self._ranks = ranks
        self._stage = config.zero_stage
        deepspeed = _import_deepspeed(ranks)
        module = _Precise(model.to(ranks.device), config.precision)
        groups = parameter_groups(model, config.weight_decay)
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            betas=(config.optimizer.beta1, config.optimizer.beta2),
            eps=config.optimizer.epsilon,
            fused=True,
        )
        if config.optimizer.kind == "sgd":
            optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.optimizer.beta1)
        numbers = sum(parameter.numel() for parameter in model.parameters())
        bucket = min(50_000_000, (numbers // 1024 + 1) * 1024)  # DeepSpeed asks for an even number
        with _quiet():
            self._engine, *_ = deepspeed.initialize(
                model=module,
                optimizer=optimizer,
                dist_init_required=False,
                config={
                    "train_batch_size": config.global_batch_size,
                    "train_micro_batch_size_per_gpu": config.global_batch_size // ranks.world_size,
                    "gradient_accumulation_steps": 1,
                    "managed_gradient_accumulation": False,
                    "gradient_clipping": config.max_gradient_norm,
                    "zero_allow_untested_optimizer": True,
                    "zero_optimization": {
                        "stage": config.zero_stage,
                        "overlap_comm": False,
                        # DeepSpeed reserves these whole: 2 GB each at its default of 500 million.
                        "reduce_bucket_size": bucket,
                        "allgather_bucket_size": bucket,
                        # Smaller parameters stay whole on every rank; at the default of 100,000 a small model is not cut.
                        "stage3_param_persistence_threshold": 10_000,
                    },
                    "steps_per_print": sys.maxsize,
                },
            )
        self._logit_scale: nn.Parameter | None = getattr(model, "logit_scale", None)

    def forward(self, *inputs: Tensor) -> Any:
        """The model's outputs, from inputs that are brought to this rank's device."""
        return self._engine(*(each.to(self._ranks.device, non_blocking=True) for each in inputs))

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss)

    def update(self, learning_rate: float) -> float:
        """Average gradients, clip, step; returns the global gradient norm before clipping.

        A norm that is not finite means that weights were not, or must not be, used further.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        norm = self._norm_without_zero() if self._stage == 0 else None
        self._engine.step()
        self._hold_logit_scale()
        return float(self._engine.get_global_grad_norm() if norm is None else norm)

    def _norm_without_zero(self) -> Tensor:
        gradients = [p.grad for p in self._engine.module.parameters() if p.grad is not None]
        return nn.utils.get_total_norm(gradients)

    def _hold_logit_scale(self) -> None:
        """Clip logit_scale at ln 100, in the optimizer's own copy too: a clamp in the forward pass would stick there."""
        if self._logit_scale is None or float(self._logit_scale.detach()) <= MAX_LOGIT_SCALE:
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

    def weights(self) -> dict[str, Tensor]:
        """The whole model's parameters by name, on the CPU, for the first rank; empty on the others.

        With them its buffers: batch norm's running means, which are the first rank's (training/models/resnet.py).
        """
        model = self._engine.module.model
        parameters = dict(model.named_parameters())
        with self._whole(list(parameters.values())):
            if not self._ranks.is_first:
                return {}
            whole = {**parameters, **lasting_buffers(model)}
            return {name: tensor.detach().cpu().clone() for name, tensor in whole.items()}

    def _whole(self, parameters: list[nn.Parameter]) -> contextlib.AbstractContextManager[Any]:
        if self._stage < 3:
            return contextlib.nullcontext()
        import deepspeed

        gathered: contextlib.AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(parameters)
        return gathered

    def save(self, folder: str, name: str) -> None:
        """What is needed to go on from here, as DeepSpeed's files in the local or shared folder/name."""
        with _quiet():
            self._engine.save_checkpoint(folder, tag=name, save_latest=False)
        if self._ranks.is_first:
            for script in ("zero_to_fp32.py", "zero_to_torch.py"):  # it leaves copies of its own tools there
                Path(folder, script).unlink(missing_ok=True)

    def load(self, folder: str, name: str) -> None:
        """Take up what `save` wrote. These files are pickles: give only those of this run, checksums compared."""
        with _quiet():
            path, _ = self._engine.load_checkpoint(folder, tag=name)
        if path is None:
            raise RuntimeError(f"DeepSpeed found no checkpoint in {folder}/{name}")

    def close(self) -> None:
        self._engine.destroy()


def lasting_buffers(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint must hold beside parameters, by name: no rank cuts these, whatever the ZeRO stage."""
    parameters = dict(model.named_parameters())
    return {name: tensor for name, tensor in model.state_dict().items() if name not in parameters}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay on matrices; none on gains, biases, the class token and logit_scale (arXiv:2103.00020, section 2.5)."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _import_deepspeed(ranks: Ranks) -> Any:
    os.environ.setdefault("LOCAL_RANK", str(ranks.device.index or 0))  # it insists, even on a world of one
    if ranks.device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with _quiet():
        import deepspeed

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


@contextlib.contextmanager
def _quiet() -> Any:
    """DeepSpeed logs each start and save in tens of lines, to stdout; warnings stay, on stderr."""
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        yield
