"""One step of a run again, on one process: its loss, who made it, and where the gradient was large.

Order, augmentation and every random draw are functions of numbers, so a step can be made again from the nearest checkpoint
before it, whatever the number of ranks was: the batch of all ranks goes through one process in as many pieces as they had
(training/step.py). Sums come in another order than over ranks, so losses agree to about 1e-6, not to the bit.
"""

import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.order import row_keys
from training.data.samples import SampleFacts, describe_samples
from training.engine.engine import Engine
from training.fitting import opened
from training.models.draws import row_draws
from training.objectives.objective import Objective
from training.objectives.rows import row_losses, rows_of
from training.run import RECORD, read_steps
from training.saving import folder as folders
from training.saving.checkpoint import Checkpoint
from training.saving.leaving import PreemptedError
from training.train import StepResult, train

MODEL_STEPS = re.compile(r"^(.*?\.\d+)\.")


@dataclass(frozen=True)
class BlamedSample:
    """A sample of the step: its facts and its share of the loss."""

    sample: SampleFacts
    loss: float


@dataclass(frozen=True)
class Replay:
    """What step `step` did. `recorded` is its line in steps.jsonl, where there is one; samples are the worst first."""

    step: int
    from_step: int
    loss: float
    gradient_norm: float
    learning_rate: float | None
    recorded: StepResult | None
    largest_difference: float | None
    """Between the replayed and the recorded losses of all steps from the checkpoint on."""
    samples: Sequence[BlamedSample]
    layers: Mapping[str, float]
    """Gradient norms by block of the model, in its order."""
    not_finite: Sequence[str]
    """Parameters that held a NaN or an infinity before the step, and gradients that did after it, by name."""


class _SeenError(Exception):
    """The step that was asked for is over."""


def replay(folder: str, data: str, step: int, on_step: Callable[[int], None] | None = None) -> Replay:
    """Step `step` of the run in `folder`, which was trained on `data`.

    Raises ConfigError for a step that the run did not reach, DataError where its checkpoints or its data are gone.
    """
    source, config = _nearest(Path(folder), step)
    recorded = {result.step: result for result in read_steps(folder)}
    if recorded and step > max(recorded) + 1:
        raise ConfigError(
            f"--step {step:,}: the run in {folder} has come to step {max(recorded):,}; give one of its steps"
        )
    if recorded and step < min(recorded):
        raise ConfigError(
            f"--step {step:,}: the run in {folder} branched off {config.start_from} and begins with step {min(recorded):,}; replay"
            " that run, or give a later step"
        )
    seen: list[_Look] = []
    losses: dict[int, float] = {}

    def look(number: int, engine: Engine, objective: Objective, batch: Batch, loss: Tensor) -> None:
        losses[number] = float(loss)
        if on_step is not None:
            on_step(number)
        if number == step:
            keys_B = torch.from_numpy(row_keys(config.seed, (step - 1) * config.global_batch_size, len(batch)))
            seen.append(_Look.at(engine, objective, batch, keys_B, config.memory.chunks))
            raise _SeenError

    with tempfile.TemporaryDirectory(prefix="openwit-replay-") as scratch:
        if source is not None:
            (Path(scratch) / "checkpoints").mkdir()
            os.symlink(Path(source.folder).resolve(), Path(scratch) / "checkpoints" / folders.name_of(source.step))
        try:
            for _ in train(config, data, scratch, look=look):
                pass
        except _SeenError:
            pass
        except PreemptedError:
            raise SystemExit(143) from None  # SIGTERM: there is nothing to save
    if not seen:
        raise ConfigError(
            f"--step {step:,}: the run in {folder} has {max(losses, default=0):,} steps; give one of them"
        )
    differences = [abs(loss - recorded[number].loss) for number, loss in losses.items() if number in recorded]
    found = seen[0]
    facts = describe_samples(opened(config, data), found.samples)
    blamed = [BlamedSample(fact, loss) for fact, loss in zip(facts, found.losses, strict=True)]
    return Replay(
        step,
        source.step if source else 0,
        losses[step],
        math.sqrt(sum(norm**2 for norm in found.layers.values())),
        recorded[step].learning_rate if step in recorded else None,
        recorded.get(step),
        max(differences) if differences else None,
        sorted(blamed, key=lambda each: (math.isfinite(each.loss), -each.loss)),
        found.layers,
        found.not_finite,
    )


def _nearest(folder: Path, step: int) -> tuple[Checkpoint | None, TrainConfig]:
    """The newest undamaged checkpoint before `step` (None: the run's beginning), and the run's config for one process."""
    if step < 1:
        raise ConfigError(f"--step {step}: steps count from 1")
    sealed = folders.sealed(folder / "checkpoints")
    last = [folder / "checkpoint"] if (folder / "checkpoint" / "checkpoint.json").exists() else []
    if not sealed and not last:
        raise DataError(f"{folder}: holds no checkpoint and no {RECORD}; give the folder of a training")
    config: Mapping[str, Any] | None = None
    for each in reversed([*last, *sealed]):
        try:
            found = Checkpoint.load(str(each))
        except (DataError, OSError):
            continue
        config = config or found.config
        if each not in last and found.step < step:
            return found, _on_one_process(config, found.ranks)
    if config is None:
        raise DataError(f"{folder}: every checkpoint is damaged; nothing to replay from")
    return None, _on_one_process(config, config["workers"])


def _on_one_process(config: Mapping[str, Any], ranks: int) -> TrainConfig:
    """The same training by one process, in as many pieces as its ranks had together, and without saving. `ranks` are those that
    wrote the checkpoint: an elastic run may have had fewer than its config names."""
    memory, checkpoints = dict(config.get("memory", {})), dict(config.get("checkpoints", {}))
    pieces = memory.get("chunks", 1) * ranks
    if config["global_batch_size"] % pieces:  # such ranks had pieces that differ by a row
        pieces = memory.get("chunks", 1) * config["workers"]
    memory |= {"chunks": pieces, "offload_optimizer": "none", "offload_parameters": "none", "compile": False}
    memory |= {"nvme_path": None}
    checkpoints |= {"every_steps": 10**9, "every_minutes": 0.0}
    changed = {"workers": 1, "zero_stage": 0, "memory": memory, "checkpoints": checkpoints}
    return TrainConfig.model_validate({**config, **changed})


@dataclass(frozen=True)
class _Look:
    """Inside of a step, after the backward pass and before the update."""

    samples: tuple[int, ...]
    losses: list[float]
    layers: dict[str, float]
    not_finite: list[str]

    @staticmethod
    def at(engine: Engine, objective: Objective, batch: Batch, keys_B: Tensor, chunks: int) -> "_Look":
        squares: dict[str, float] = {}
        broken = []
        for name, parameter in engine.model.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                broken.append(name)
            if parameter.grad is not None:
                square = float(parameter.grad.double().square().sum()) / engine.loss_scale.value**2
                if not math.isfinite(square):
                    broken.append(f"{name}.grad")
                found = MODEL_STEPS.match(name)
                block = found[1] if found else name
                squares[block] = squares.get(block, 0.0) + square
        losses = _losses(engine, objective, batch, keys_B, chunks).tolist()
        return _Look(batch.samples, losses, {name: math.sqrt(value) for name, value in squares.items()}, broken)


@torch.no_grad()
def _losses(engine: Engine, objective: Objective, batch: Batch, keys_B: Tensor, chunks: int) -> Tensor:
    """(B,): each sample's share of the loss, by the model in training mode, with the chunks and the draws of the step."""
    size = -(-len(keys_B) // chunks)
    found, losses = [], []
    for start in range(0, len(keys_B), size):
        part = slice(start, start + size)
        with row_draws(keys_B[part]):
            outputs = engine.forward(*objective.inputs(rows_of(batch, part)))
        if objective.pairs:
            found.append(outputs)
        else:
            losses.append(row_losses(objective, outputs, rows_of(batch, part), keys_B[part]))
    if losses:
        return torch.cat(losses)
    rows = objective.row_outputs
    joined = (*(torch.cat(each) for each in zip(*(output[:rows] for output in found), strict=True)), *found[0][rows:])
    return row_losses(objective, joined, batch, keys_B)


def as_json(found: Replay, worst: int) -> dict[str, Any]:
    """For `--json` and files: plain values, the `worst` samples."""
    samples = [{**each.sample.as_json(), "loss": each.loss} for each in found.samples[:worst]]
    recorded = None if found.recorded is None else found.recorded.loss
    value = {
        "step": found.step,
        "replayed_from_step": found.from_step,
        "loss": found.loss,
        "recorded_loss": recorded,
        "largest_difference_since_checkpoint": found.largest_difference,
        "gradient_norm": found.gradient_norm,
        "recorded_gradient_norm": None if found.recorded is None else found.recorded.gradient_norm,
        "learning_rate": found.learning_rate,
        "not_finite": list(found.not_finite),
        "gradient_norm_by_layer": dict(found.layers),
        "samples": samples,
    }
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain
