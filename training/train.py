"""Training, as a generator of step results that runs in every rank under any launcher.

    for result in train(config, manifest_folder, folder): ...

It resumes by itself from the newest undamaged checkpoint in `folder`, and gives the loss curve and the final checkpoint
of an uninterrupted run, bit for bit on CPUs with fixed threads: the order of samples and all random draws are functions of
the step (training/data/order.py), weights and moments come back exactly.
"""

import contextlib
import math
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.check import notes
from training.data.loader import Loader
from training.data.order import row_keys, step_seed
from training.data.sources import Data
from training.engine.diagnosis import diverged, first_bad_tensor, stands_still
from training.engine.engine import Engine
from training.engine.out_of_memory import explained
from training.engine.ranks import Ranks, join
from training.fitting import first_pictures, fitted, opened
from training.models.base import Model
from training.objectives.objective import Objective, make_objective
from training.optim.schedule import learning_rate
from training.saving import checkpoint as checkpoints
from training.saving.best_metric import never_measured
from training.saving.checkpoint import Checkpoint
from training.saving.leaving import Preemption
from training.saving.meanings import TOKENIZER, Meanings
from training.saving.resume import Saver
from training.saving.same_run import LENGTH, is_same_run, require_same_run
from training.saving.snapshots import SnapshotFolder
from training.saving.start import resumed_tokenizer, start_from, starting_spec, starting_tokenizer
from training.spec import build
from training.specs.base import ModelSpec
from training.step import Outcome, compute
from training.tokens.tokenizer import Tokenizer, released
from training.watching.watch import Watch

FINAL = "checkpoint"


@dataclass(frozen=True)
class StepResult:
    """One optimizer step, the same on every rank but for what the clock decides: speed, time left and `measured`.

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
    measured: dict[str, float] = field(default_factory=dict)
    """This rank's MFU, share of time spent waiting for data, memory (training/watching/watch.py)."""


Look = Callable[[int, Engine, Objective, Batch, torch.Tensor], None]
"""step, engine, objective, this rank's batch, its loss"""


def _silent(line: str) -> None:
    pass


def train(
    config: TrainConfig,
    manifest_folder: str,
    folder: str,
    resume: bool = True,
    preemption: Preemption | None = None,
    look: Look | None = None,
    say: Callable[[str], None] = _silent,
    is_measured: bool = False,
) -> Iterator[StepResult]:
    """Train `config.model` on the dataset in `manifest_folder`; leaves `folder`/checkpoint/ when it ends.

    A folder whose training is finished yields nothing. `resume=False` begins again. `folder` is a local or shared disk.
    `preemption` is asked now and then how many seconds are left; `look` is called between each backward pass and update.
    `say` is told a line for what is left out and what is not done. With `is_measured` somebody reads and removes snapshots.
    Raises ConfigError and DataError before any work where the config does not fit the dataset, ConfigError after a first step
    whose gradient is zero, and DataError naming the step when loss or gradient stop being finite. Raises PreemptedError when it
    was told to leave and has saved.
    """
    mistake = never_measured(config, is_measured and config.watch.evaluate_every_steps > 0)
    if mistake is not None:
        raise ConfigError(f"train.{mistake}")
    if config.threads_per_worker:
        torch.set_num_threads(config.threads_per_worker)
    ranks = join()
    with contextlib.ExitStack() as ending:
        ending.callback(ranks.leave)
        with ranks.together():  # a rank may lack what the others see: a disk that is not mounted there
            data = opened(config, manifest_folder)
        for line in (*notes(data), *_unmeasured(config, is_measured)):
            say(line)
        if ranks.is_first and not resume:
            for name in (FINAL, "checkpoints"):
                shutil.rmtree(Path(folder) / name, ignore_errors=True)
        ranks.wait_for_all()
        found = _finished(config, data, folder, ranks, say)
        if found != "finished":
            is_prolonged = found == "shorter"
            yield from _train(config, data, folder, ranks, preemption, ending, look, is_measured, is_prolonged, say)


def _unmeasured(config: TrainConfig, is_measured: bool) -> Iterator[str]:
    if config.watch.evaluate_every_steps and not is_measured:
        yield (
            f"train.watch.evaluate_every_steps is {config.watch.evaluate_every_steps:,}: snapshots are measured only under"
            " `openwit train` and `openwit run`; none are written here"
        )


def _finished(config: TrainConfig, data: Data, folder: str, ranks: Ranks, say: Callable[[str], None]) -> str:
    """Whether the folder's finished model is this run's ("finished"), one of a run that is this one but "shorter", or "none".

    Raises ConfigError where it is of another run: what is finished is not written over.
    """
    answer = "none"
    if ranks.is_first and storage.exists(storage.join(folder, FINAL, checkpoints.NAME)):
        try:
            answer = _compared(Checkpoint.load(storage.join(folder, FINAL)), config, data)
        except DataError as error:
            say(
                f"{str(error).split('; ')[0]}; the finished model is made again from the last checkpoint to resume from"
            )
    answer = ranks.say(answer) or "none"
    if answer not in ("finished", "shorter", "none"):
        raise ConfigError(answer)
    return answer


def _compared(done: Checkpoint, config: TrainConfig, data: Data) -> str:
    if is_same_run(done, config, data.id):
        return "finished"
    total = config.total_steps(data.rows)
    try:
        require_same_run(done, config, data.id, LENGTH)
    except ConfigError as error:
        return str(error)
    if done.step < total:
        return "shorter"
    return (
        f"{done.folder} is the finished model of {done.step:,} steps and this run has {total:,} of another plan; choose another"
        " folder (start_from_state branches off a checkpoint)"
    )


def _train(
    config: TrainConfig,
    data: Data,
    folder: str,
    ranks: Ranks,
    preemption: Preemption | None,
    ending: contextlib.ExitStack,
    look: Look | None,
    is_measured: bool,
    is_prolonged: bool,
    say: Callable[[str], None],
) -> Iterator[StepResult]:
    spec = starting_spec(fitted(config, data), config)
    objective = make_objective(config, spec)
    tokenizer = _tokenizer(config, data, folder, ranks) if "text" in objective.needs else None
    meanings = Meanings(tokenizer, data.classes if "label" in objective.needs else ())
    loader = Loader(config, data, tokenizer, spec.image_size, ranks.rank, ranks.world_size)

    model, anew, lines = _model(config, spec, objective, data, meanings)
    for line in lines:
        say(line)
    memory = partial(explained, config, spec, ranks.world_size, ranks.device)
    with memory():
        engine = Engine(model, config, ranks, anew)
    saver = ending.enter_context(contextlib.closing(Saver(folder, config, spec, data.id, ranks, preemption, say)))
    done = saver.resume(engine.state(), data.rows, is_prolonged)
    total = config.total_steps(data.rows)
    watch = Watch(config, spec, ranks.world_size, ranks.device)
    snapshots = SnapshotFolder(folder, config, spec, data.id, ranks, is_measured)
    # Closed before whoever holds an error lets go of it: a process that ends meanwhile would end with a thread in C++.
    batches = loader.batches(done * config.global_batch_size, total - done)
    batches = ending.enter_context(contextlib.closing(_own(batches, ranks)))
    for step, batch in enumerate(watch.over(batches), start=done + 1):
        rate = learning_rate(config, step, total)
        forward_backward = partial(_gradients, engine, objective, batch, config, step, ranks)
        with ranks.alone(), memory():
            with watch.phase("forward and backward"):
                outcome = forward_backward()
            if look is not None:
                look(step, engine, objective, batch, outcome.loss)
            loss = ranks.mean(outcome.loss)
            with watch.phase("update"):
                norm = engine.update(rate) if math.isfinite(loss) else math.nan
        if not math.isfinite(norm):
            raise diverged(step, loss, norm, first_bad_tensor(engine.model, forward_backward, ranks), config)
        if step == 1 and norm == 0 and loss > 0 and not engine.loss_scale.skipped_steps:
            raise stands_still(loss, config)
        metrics = ranks.means(outcome.metrics) | engine.metrics()
        pace = watch.tick(batch)
        yield StepResult(
            step,
            total,
            loss,
            rate,
            metrics.pop("logit_scale", None),
            step * config.global_batch_size,
            norm,
            pace.samples_per_second,
            round((total - step) * config.global_batch_size / max(0.1, pace.samples_per_second), 1),
            metrics,
            pace.measured | loader.measured() | snapshots.measured(),
        )
        # After the yield: whoever writes results down has this step's before a checkpoint says it is done.
        snapshots.after_step(engine, meanings, step)
        saver.after_step(engine.state(), meanings, step, total, metrics | {"loss": loss, "gradient_norm": norm})
    saver.finish(engine, meanings, total)
    engine.close()


def _own(batches: Generator[Batch, None, None], ranks: Ranks) -> Generator[Batch, None, None]:
    """What this rank cannot read is its own matter."""
    with ranks.alone(), contextlib.closing(batches):
        yield from batches


def _model(
    config: TrainConfig, spec: ModelSpec, objective: Objective, data: Data, meanings: Meanings
) -> tuple[Model, frozenset[str], tuple[str, ...]]:
    """With the weights that training begins with, the same on every rank; which of them no trained model brought; and a line for
    each part that begins anew though that model has one."""
    torch.manual_seed(config.seed)
    model = build(spec)
    model.patch_dropout = config.patch_dropout
    objective.prepare(model, partial(first_pictures, config, data, spec.image_size))
    return model, *start_from(model, config, meanings.classes)


def _gradients(
    engine: Engine, objective: Objective, batch: Batch, config: TrainConfig, step: int, ranks: Ranks
) -> Outcome:
    """The step's forward and backward passes; all that they draw is a function of the step."""
    torch.manual_seed(step_seed(config.seed, step, ranks.rank))
    first_row = (step - 1) * config.global_batch_size + ranks.rank * len(batch.pixels)
    keys_B = torch.from_numpy(row_keys(config.seed, first_row, len(batch.pixels)))
    return compute(engine, objective, batch, keys_B, config.memory.chunks)


def _tokenizer(config: TrainConfig, data: Data, folder: str, ranks: Ranks) -> Tokenizer:
    """The configured one, that of the model to start from, the run's own so far, or one trained on all captions; rank 0 writes it
    for the others."""
    path = storage.join(folder, TOKENIZER)
    given = starting_tokenizer(config) or released(config)  # on every rank: what is wrong with them is said by all
    if ranks.is_first:
        given = given or resumed_tokenizer(folder)
        (given or Tokenizer.train(data.all_captions(), config.vocabulary_size, config.context_length)).save(path)
    ranks.wait_for_all()
    return Tokenizer.load(path)
