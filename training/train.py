"""Training, as a generator of step results that runs in every rank under any launcher.

    for result in train(config, manifest_folder, folder): ...

It resumes by itself from the newest undamaged checkpoint in `folder`, and gives the loss curve and the final checkpoint
of an uninterrupted run, bit for bit on CPUs with fixed threads: the order of samples and all random draws are functions of
the step (training/data/order.py), weights and moments come back exactly.
"""

import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pipeline import storage
from pipeline.errors import DataError
from training import checkpoint as checkpoints
from training.checkpoint import Checkpoint
from training.config import TrainConfig
from training.data.check import check
from training.data.loader import Loader
from training.data.order import row_keys, step_seed
from training.data.sources import Data, open_data
from training.engine import Engine
from training.objectives.objective import make_objective
from training.optim.schedule import learning_rate
from training.ranks import Ranks, join
from training.resume import ResumeFolder, describe
from training.spec import build, get_spec
from training.specs.base import ModelSpec
from training.step import compute
from training.tokenizer import Tokenizer

FINAL = "checkpoint"
SPEED_WINDOW_SECONDS = 10.0


@dataclass(frozen=True)
class StepResult:
    """One optimizer step, the same on every rank but for speed and time left, which the clock decides.

    `loss` is the mean over the global batch and `gradient_norm` that of the whole gradient before clipping;
    `logit_scale` is exp of the parameter, as the logits saw it, where the model has one.
    """

    step: int
    total_steps: int
    loss: float
    learning_rate: float
    logit_scale: float | None
    samples_seen: int
    gradient_norm: float
    samples_per_second: float
    seconds_left: float
    metrics: dict[str, float] = field(default_factory=dict)
    """What the objective and the engine measure of this step, by name; means over ranks."""


def train(config: TrainConfig, manifest_folder: str, folder: str, resume: bool = True) -> Iterator[StepResult]:
    """Train `config.model` on the dataset in `manifest_folder`; leaves `folder`/checkpoint/ when it ends.

    A folder whose training is finished yields nothing. `resume=False` begins again. `folder` is a local or shared disk.
    Raises ConfigError and DataError before any work where the config does not fit the dataset, and DataError naming the
    step when loss or gradient stop being finite.
    """
    data = open_data(config.data, manifest_folder)
    check(config, data)
    if config.threads_per_worker:
        torch.set_num_threads(config.threads_per_worker)
    ranks = join()
    try:
        if ranks.is_first and not resume:
            for name in (FINAL, "checkpoints"):
                shutil.rmtree(Path(folder) / name, ignore_errors=True)
        ranks.wait_for_all()
        if not _is_finished(config, data, folder, ranks):
            yield from _train(config, data, folder, ranks)
    finally:
        ranks.leave()


def _is_finished(config: TrainConfig, data: Data, folder: str, ranks: Ranks) -> bool:
    answer = None
    if ranks.is_first and storage.exists(storage.join(folder, FINAL, checkpoints.NAME)):
        try:
            done = Checkpoint.load(storage.join(folder, FINAL))
        except DataError:
            done = None  # damaged: the run is taken up again from its last resumable checkpoint
        ours = done is not None and done.manifest_id == data.id and done.config == config.model_dump(mode="json")
        answer = "finished" if ours else None
    return ranks.say(answer) == "finished"


def _train(config: TrainConfig, data: Data, folder: str, ranks: Ranks) -> Iterator[StepResult]:
    tokenizer = _tokenizer(config, data, folder, ranks)
    spec = get_spec(config.model).with_text(config.vocabulary_size, config.context_length)
    loader = Loader(config, data, tokenizer, spec.image_size, ranks.rank, ranks.world_size)

    objective = make_objective(config, spec)
    torch.manual_seed(config.seed)
    model = build(spec)
    model.patch_dropout = config.patch_dropout
    engine = Engine(model, config, ranks)
    resumes = ResumeFolder(folder, config, spec, data.id, ranks)
    last = resumes.newest()
    done = last.step if last else 0
    if last:
        engine.load(*last.folder.rsplit("/", 1))

    total = config.total_steps(data.rows)
    clock = _Clock(config.global_batch_size)
    batches = loader.batches(done * config.global_batch_size, total - done)
    for step, batch in enumerate(batches, start=done + 1):
        rate = learning_rate(config, step, total)
        torch.manual_seed(step_seed(config.seed, step, ranks.rank))
        first_row = (step - 1) * config.global_batch_size + ranks.rank * len(batch.pixels)
        keys_B = torch.from_numpy(row_keys(config.seed, first_row, len(batch.pixels)))
        outcome = compute(engine, objective, batch, keys_B, config.memory.chunks)
        loss = ranks.mean(outcome.loss)
        norm = engine.update(rate) if math.isfinite(loss) else math.nan
        if not math.isfinite(norm):
            raise DataError(
                f"step {step:,}: loss {loss:g}, gradient norm {norm:g}; the weights have diverged: lower"
                f" train.learning_rate ({config.learning_rate:g}) or set train.max_gradient_norm to 1.0"
                " (checkpoints written before this step are intact)"
            )
        metrics = {name: ranks.mean(value) for name, value in outcome.metrics.items()}
        speed = clock.tick()
        yield StepResult(
            step,
            total,
            loss,
            rate,
            metrics.get("logit_scale"),
            step * config.global_batch_size,
            norm,
            round(speed, 1),
            round((total - step) * config.global_batch_size / speed, 1),
        )
        # After the yield: whoever writes results down has this step's before a checkpoint says it is done.
        if step % config.checkpoints.every_steps == 0 and step < total:
            resumes.save(engine, tokenizer, step)
    _finish(engine, tokenizer, spec, total, config, data.id, folder, ranks)
    engine.close()


def _tokenizer(config: TrainConfig, data: Data, folder: str, ranks: Ranks) -> Tokenizer:
    """Trained on all captions by rank 0, which writes it where the others read it."""
    path = storage.join(folder, checkpoints.TOKENIZER)
    if ranks.is_first:
        Tokenizer.train(data.all_captions(), config.vocabulary_size, config.context_length).save(path)
    ranks.wait_for_all()
    return Tokenizer.load(path)


def _finish(
    engine: Engine,
    tokenizer: Tokenizer,
    spec: ModelSpec,
    step: int,
    config: TrainConfig,
    manifest_id: str,
    folder: str,
    ranks: Ranks,
) -> None:
    weights = engine.weights()
    if ranks.is_first:
        target = storage.join(folder, FINAL)
        checkpoints.write_model(target, weights, tokenizer)
        describe(target, spec, step, manifest_id, config, ranks.world_size).save()
    ranks.wait_for_all()


class _Clock:
    """Samples per second over the last few seconds, so that a slow start is soon forgotten."""

    def __init__(self, samples_per_step: int) -> None:
        self._samples = samples_per_step
        self._times = [time.monotonic()]

    def tick(self) -> float:
        now = time.monotonic()
        self._times.append(now)
        while len(self._times) > 2 and self._times[0] < now - SPEED_WINDOW_SECONDS:
            self._times.pop(0)
        return self._samples * (len(self._times) - 1) / max(1e-9, now - self._times[0])
