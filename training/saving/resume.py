"""Saving a run so that it can be resumed, and resuming it: what `train` calls after each step, on every rank.

A resumed run takes the newest checkpoint whose files all have their recorded checksum; a damaged one is passed over for the
one before it. The number of ranks, the ZeRO stage and whatever else does not change what is learned may differ from those
that wrote it; anything else that differs is refused in one line.

The folder must be one that all ranks see: a local disk on one machine, a shared file system on several.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline import storage
from pipeline.errors import ConfigError, DataError, UserError
from training.config import TrainConfig
from training.engine.ranks import Ranks
from training.saving import folder as folders
from training.saving.checkpoint import FINAL, WEIGHTS, Checkpoint, checksums, write_model
from training.saving.leaving import Notice, PreemptedError, Preemption
from training.saving.meanings import Meanings
from training.saving.opening import open_model
from training.saving.parts import State, checksums_of_parts
from training.saving.same_run import BEGINNING, LENGTH, cannot_go_on, goes_on, is_same_run, require_same_run
from training.saving.transfer import HostCopies, Stateful, restore
from training.saving.writing import Writer
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor


class Finished(Protocol):
    """What a finished checkpoint needs of an engine: values for the first rank, nothing for the others."""

    def weights(self) -> "dict[str, Tensor]": ...
    def averaged_weights(self) -> "dict[str, Tensor]": ...


class Saver:
    """One run's resumable checkpoints, for one rank. Every method is collective."""

    def __init__(
        self,
        folder: str,
        config: TrainConfig,
        spec: ModelSpec,
        manifest_id: str,
        ranks: Ranks,
        preemption: Preemption | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._say = say
        self._folder = Path(folder) / "checkpoints"
        self._config, self._spec, self._manifest_id, self._ranks = config, spec, manifest_id, ranks
        self._settings = config.checkpoints
        self._copies = HostCopies()
        self._writer = Writer(ranks.rank, ranks.world_size)
        self._notice = Notice(self._settings.seconds_after_sigterm, preemption)
        self._sums: dict[str, float] = {}
        self._steps_summed = 0
        self._saved_step = 0
        self._saved_at = self._polled_at = self._step_at = time.monotonic()
        self._answered = False

    def resume(self, state: Stateful, rows: int, is_prolonged: bool = False) -> int:
        """Put the newest undamaged checkpoint that this run goes on from into a fresh engine; the step that it was made after,
        or 0. `rows` are the dataset's; with `is_prolonged` the folder holds the finished model of a shorter run.

        Raises ConfigError when it belongs to another config or dataset, or to a run of another length that went otherwise;
        DataError when it is of another model.
        """
        found = self._newest(str(self._folder.parent), self._own(), rows, must=is_prolonged)
        if found is None and self._config.start_from_state:
            place = str(self._config.start_from)
            found = self._newest(place, self._branched(place), rows, True, BEGINNING)
        if found is None:
            return 0
        restore(state, State(found.folder, found.ranks))
        self._saved_step = found.step if found.folder.startswith(str(self._folder)) else 0
        return found.step

    def _own(self) -> list[str]:
        """This run's checkpoints, oldest first, as the first rank sees them."""
        found = self._ranks.say("\n".join(str(each) for each in folders.sealed(self._folder))) or ""
        return found.splitlines()

    def _branched(self, place: str) -> list[str]:
        """Those at `train.start_from`: of a run, or the one of that folder. Raises ConfigError where it has no moments."""
        own = self._ranks.say("\n".join(str(each) for each in folders.sealed(Path(place) / "checkpoints"))) or ""
        if own:
            return own.splitlines()
        if WEIGHTS in Checkpoint.load(place, verify=False).files:
            raise ConfigError(
                f"train.start_from_state: {place} is a finished model without moments; name the folder of its run, or one in"
                " its checkpoints/"
            )
        return [place]

    def _newest(
        self, place: str, folders_of_it: Sequence[str], rows: int, must: bool, may_differ: tuple[str, ...] = ()
    ) -> Checkpoint | None:
        """The newest undamaged one that this run goes on from; None where there is no undamaged one.

        Says what is damaged and what that costs. Raises ConfigError where there are some, or there `must` be one, and this run goes
        on from none of them.
        """
        damaged: list[str] = []
        for where in reversed(folders_of_it):
            found = self._intact(where, damaged)
            if found is None:
                continue
            for reason in damaged:
                self._say(f"{reason}; the run goes on from step {found.step:,}")
            damaged = []
            require_same_run(found, self._config, self._manifest_id, (*LENGTH, *may_differ))
            if is_same_run(found, self._config, self._manifest_id) or goes_on(found, self._config, rows):
                return found
            must = True
        if must:
            raise cannot_go_on(place, self._config, self._config.total_steps(rows))
        for reason in damaged:
            self._say(f"{reason}; no undamaged checkpoint is left and the run begins at step 1")
        return None

    def _intact(self, where: str, damaged: list[str]) -> Checkpoint | None:
        """The checkpoint in a folder where no rank finds a file damaged; else the first rank's reason is put down."""
        damage, checkpoint = None, None
        try:
            checkpoint = Checkpoint.load(where, verify=False)
            # Each rank looks at every W-th file: checksums take as long as reading.
            mine = sorted(checkpoint.files)[self._ranks.rank :: self._ranks.world_size]
            folders.require_intact(Path(where), mine, checkpoint.files)
        except (DataError, OSError) as error:
            damage = str(error).split("; ")[0]
        if (damage := self._ranks.first_word(damage)) is not None:
            damaged.append(damage)
            return None
        return checkpoint

    def after_step(
        self, state: Stateful, meanings: Meanings, step: int, total: int, metrics: Mapping[str, float]
    ) -> None:
        """Save where it is time to.

        Raises DataError when the checkpoint before could not be written, PreemptedError when the run was told to leave and has
        saved.
        """
        self._count(metrics)
        now = time.monotonic()
        left = self._notice.seconds_left
        room = None if left is None else left - 2 * self._writer.seconds - 2 * (now - self._step_at)
        self._step_at = now
        failed, told, no_room, old, ask = self._ranks.highest(
            [
                float(self._writer.error is not None),
                float(left is not None),
                float(room is not None and room <= 0),
                float(self._is_old(now)),
                float(now - self._polled_at >= self._settings.preemption_poll_seconds),
            ]
        )
        if failed:
            self._raise_together()
        if step == total:
            if self._may_be_prolonged:
                self._save(state, meanings, step, wait=False)
            return
        if told and (no_room or not self._answered):
            self._answered = True
            self._save(state, meanings, step, wait=True)
            if no_room:
                raise PreemptedError(
                    f"told to leave: saved step {step:,} of {total:,}; the same command goes on from there"
                )
        elif old or step % self._settings.every_steps == 0:
            self._save(state, meanings, step, wait=not self._settings.asynchronous)
        if ask:  # decided together, so that every rank calls it equally often
            self._polled_at = now
            self._notice.ask()

    @property
    def _may_be_prolonged(self) -> bool:
        """Whether more steps could follow the last one, so that its moments are worth keeping."""
        return self._config.schedule in ("constant", "rsqrt") and not self._config.cooldown_steps

    def _is_old(self, now: float) -> bool:
        minutes = self._settings.every_minutes
        return self._ranks.is_first and minutes > 0 and now - self._saved_at >= 60 * minutes

    def _count(self, metrics: Mapping[str, float]) -> None:
        self._steps_summed += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def _save(self, state: Stateful, meanings: Meanings, step: int, wait: bool) -> None:
        self.wait()
        if step == self._saved_step:
            return
        partial = self._open(step)
        part = self._copies.take(state)
        metrics = {name: value / self._steps_summed for name, value in sorted(self._sums.items())}
        self._sums, self._steps_summed = {}, 0
        self._saved_step, self._saved_at = step, time.monotonic()

        def seal() -> None:
            meanings.save(str(partial))
            began = {folders.STARTED_FROM: self._started_from} if self._started_from is not None else {}
            storage.write_json(str(partial / folders.PROGRESS), {"metrics": metrics, "counts": part.counts, **began})
            folders.seal(
                partial, self._describe(str(partial), step, checksums_of_parts(partial, self._ranks.world_size))
            )
            for old in folders.surplus(folders.sealed(self._folder), self._settings, step):
                folders.remove(old)

        self._writer.start(partial, part, seal if self._ranks.is_first else None)
        if wait:
            self.wait()

    @functools.cached_property
    def _started_from(self) -> str | None:
        """Id of the model at `train.start_from`, so that a run whose start has moved goes on; None where it cannot be told."""
        try:
            return None if self._config.start_from is None else open_model(self._config.start_from).id
        except (UserError, OSError):  # it is gone; nothing but a resume from another place needs it
            return None

    def _open(self, step: int) -> Path:
        """The empty folder, made by the first rank, and what it could not do said by all."""
        failure = None
        if self._ranks.is_first:
            try:
                folders.open_partial(self._folder, step)
            except OSError as error:
                failure = f"cannot be written ({error.strerror or error})"
        if (failure := self._ranks.say(failure)) is not None:
            raise _unwritable(self._folder, failure)
        return self._folder / (folders.name_of(step) + folders.PARTIAL)

    def _describe(self, folder: str, step: int, files: Mapping[str, str]) -> Checkpoint:
        samples, config = step * self._config.global_batch_size, self._config.identity()
        return Checkpoint(folder, self._spec, step, samples, self._manifest_id, config, self._ranks.world_size, files)

    def wait(self) -> None:
        """Until the checkpoint in hand is sealed. Raises DataError where it could not be written."""
        self._writer.wait()
        if self._ranks.highest([float(self._writer.error is not None)]) != [0.0]:
            self._raise_together()

    def _raise_together(self) -> None:
        """The same DataError on every rank: that of the lowest rank that has one."""
        error = self._ranks.first_word(self._writer.error)
        raise _unwritable(self._folder, error or "cannot be written")

    def finish(self, engine: Finished, meanings: Meanings, step: int) -> None:
        """folder/checkpoint: the finished model, without what only training needs."""
        self.wait()
        weights, averages = engine.weights(), engine.averaged_weights()
        if self._ranks.is_first:
            target = storage.join(str(self._folder.parent), FINAL)
            folders.remove(Path(target))  # that of a shorter run, or a damaged one
            write_model(target, weights, meanings, averages)
            self._describe(target, step, checksums(target)).save()
        self._ranks.wait_for_all()

    def close(self) -> None:
        """Not collective: also after a failure."""
        self._writer.close()
        self._notice.close()


def _unwritable(folder: Path, reason: str) -> DataError:
    text = reason if str(folder) in reason else f"{folder}: {reason}"
    return DataError(f"{text.split('; ')[0]}; the checkpoints before it are intact: free space and run again")
