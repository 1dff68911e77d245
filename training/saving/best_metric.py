"""What `checkpoints.best_metric` can name: known before the first step, so that a slip of the pen ends no run and spoils none."""

from typing import TYPE_CHECKING

from training.objectives.config import METRICS
from training.spec import REGISTRY

if TYPE_CHECKING:
    from training.config import TrainConfig


def step_metrics(config: "TrainConfig") -> tuple[str, ...]:
    """The numbers that each step of this training has, by which checkpoints can be kept."""
    kind = config.objective.kind_for(REGISTRY[config.model].family)
    scaled = ("loss_scale", "skipped_steps") if config.precision == "float16" else ()
    return ("loss", "gradient_norm", *METRICS[kind], *scaled)


def asks_for_a_score(config: "TrainConfig") -> bool:
    """Whether the best checkpoints are kept by something that no step has: only an evaluation can give it."""
    settings = config.checkpoints
    return settings.keep_best > 0 and settings.best_metric not in step_metrics(config)


def never_measured(config: "TrainConfig", is_measured: bool) -> str | None:
    """A line where no step has `best_metric` and, without `is_measured`, no evaluation beside the training can have it."""
    if is_measured or not asks_for_a_score(config):
        return None
    return (
        f"checkpoints.best_metric is {config.checkpoints.best_metric}, and a step has {', '.join(step_metrics(config))};"
        " choose one of them, or let train.watch.evaluate_every_steps measure scores under `openwit train`"
    )
