"""Which run a checkpoint belongs to, and which runs may go on from it: the same one, one that is longer, or a branch.

What is learned up to a step depends on the length of a run through the learning rate alone, so a run of other `steps`, `epochs`
or `cooldown_steps` may go on from a checkpoint where both rates are equal at every step up to it: rsqrt before its cooldown,
which Scaling ViT (arXiv:2106.04560, section 3.5) made for this, and a constant rate. It then ends bit for bit as if it had been
planned so.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.data.config import SourceConfig
from training.models.palette import read_palette
from training.optim.schedule import learning_rate
from training.saving.checkpoint import Checkpoint
from training.saving.folder import started_from
from training.saving.meanings import TOKENIZER
from training.saving.opening import open_model
from training.tokens.tokenizer import released

CHANGEABLE = (
    *("workers", "threads_per_worker", "zero_stage", "memory", "launch", "checkpoints", "watch"),
    *("data.decoded_cache_mib", "data.shard_cache_mib", "data.cache_folder", "data.threads", "data.processes"),
    *("data.batches_ahead", "data.verify_checksums", "data.max_broken_share", "data.max_bare_share"),
)
"""Settings that a resumed run may change: they say where and how fast, not what."""
LENGTH = ("steps", "epochs", "cooldown_steps")
"""Settings that may change where the rates up to the checkpoint stay as they were."""
BEGINNING = ("start_from", "start_from_state")
"""Settings in which a branch differs from the run that it leaves."""


def is_same_run(checkpoint: Checkpoint, config: TrainConfig, manifest_id: str) -> bool:
    """Whether `checkpoint` is one of the run that `config` describes."""
    return checkpoint.manifest_id == manifest_id and _difference(checkpoint, config) is None


def require_same_run(
    checkpoint: Checkpoint, config: TrainConfig, manifest_id: str, may_differ: tuple[str, ...] = ()
) -> None:
    """Raises ConfigError naming the first thing that makes `checkpoint` one of another run."""
    if checkpoint.manifest_id != manifest_id:
        raise ConfigError(f"{checkpoint.folder} belongs to another dataset; choose another folder")
    if (found := _difference(checkpoint, config, may_differ)) is not None:
        key, theirs, ours = found
        raise ConfigError(
            f"{checkpoint.folder} was trained with {key} {theirs} and this run has {ours}; choose another folder"
        )


def _difference(
    checkpoint: Checkpoint, config: TrainConfig, may_differ: tuple[str, ...] = ()
) -> tuple[str, Any, Any] | None:
    """The first key in which they learn something else, and both values."""
    theirs, ours = what_is_learned(checkpoint.config), what_is_learned(config.model_dump(mode="json"))
    for key in sorted({*theirs, *ours} - {*may_differ}):
        # A run of before the setting was there had what is now its default.
        if theirs.get(key, _default(key)) != ours.get(key) and not (
            key in SAME_INSIDE and SAME_INSIDE[key](checkpoint, config)
        ):
            return key, theirs.get(key), ours.get(key)
    return None


def _same_words(checkpoint: Checkpoint, config: TrainConfig) -> bool:
    """Whether the file that `train.vocabulary` names is what the checkpoint was trained with, wherever it lay then."""
    made = released(config)
    return made is not None and TOKENIZER in checkpoint.files and made.to_bytes() == checkpoint.tokenizer().to_bytes()


def _same_colours(checkpoint: Checkpoint, config: TrainConfig) -> bool:
    """Whether the file that `train.objective.palette` names holds the colours that the checkpoint was trained with."""
    path, known = config.objective.palette, checkpoint.palette()
    return path is not None and known is not None and bool((read_palette(path, len(known)) == known).all())


def _same_start(checkpoint: Checkpoint, config: TrainConfig) -> bool:
    """Whether `train.start_from` names the very model that the checkpoint's run began with."""
    began = started_from(Path(checkpoint.folder))
    return config.start_from is not None and began is not None and open_model(config.start_from).id == began


SAME_INSIDE: Mapping[str, Callable[[Checkpoint, TrainConfig], bool]] = {
    "vocabulary": _same_words,
    "objective.palette": _same_colours,
    "start_from": _same_start,
}
"""Keys that are files or folders, of which the content counts and not where they lie."""


def _default(key: str) -> Any:
    return False if key == "start_from_state" else None


def goes_on(checkpoint: Checkpoint, config: TrainConfig, rows: int) -> bool:
    """Whether a run that differs from the checkpoint's in its length alone has its learning rates up to it, and steps left."""
    total = config.total_steps(rows)
    if checkpoint.step >= total:
        return False
    try:
        before = TrainConfig.model_validate(dict(checkpoint.config))
    except (ValidationError, ConfigError):
        return False  # of another version
    planned = before.total_steps(rows)
    return all(
        learning_rate(before, step, planned) == learning_rate(config, step, total)
        for step in range(checkpoint.step, 0, -1)
    )


def cannot_go_on(place: str, config: TrainConfig, total: int) -> ConfigError:
    """For a run of another length without a checkpoint to go on from."""
    return ConfigError(
        f"{place} has no checkpoint that {total:,} steps of schedule {config.schedule} with cooldown_steps"
        f" {config.cooldown_steps} go on from with the learning rates they had; choose another folder (start_from takes weights"
        " alone), or, before a cooldown, prolong schedule rsqrt or constant"
    )


def what_is_learned(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values of a TrainConfig as JSON, less those that a resumed run may change."""

    def flat(value: Mapping[str, Any], above: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, each in value.items():
            name = f"{above}{key}"
            if name in CHANGEABLE:
                continue
            out |= flat(each, f"{name}.") if isinstance(each, Mapping) else {name: each}
        return out

    out = flat(config, "")
    # Where data lies is no part of it: its id, which is compared too, says what it is. None are one, the run's own dataset.
    sources: Sequence[Mapping[str, Any]] = out.get("data.sources") or [SourceConfig().model_dump(mode="json")]
    out["data.sources"] = [{key: value for key, value in each.items() if key != "path"} for each in sources]
    return out
