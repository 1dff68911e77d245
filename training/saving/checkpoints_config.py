"""CheckpointsConfig: the `train.checkpoints` section of a recipe. None of it changes what is learned."""

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings

FALLING = ("loss", "norm", "bits", "nats", "error", "steps")
"""Words in the names of what gets better as it falls: class_loss, gradient_norm, bits_per_pixel, text_nats, calibration_error."""


class CheckpointsConfig(Settings):
    """When a run can be resumed from, and what is kept."""

    every_steps: int = Field(default=500, ge=1)
    """A resumable checkpoint each so many steps."""
    every_minutes: float = Field(default=0.0, ge=0)
    """And one when the last is so old, by the first rank's clock; 0 is off."""
    keep: int = Field(default=2, ge=1)
    """The newest so many; an older one serves when the newest is damaged."""
    keep_best: int = Field(default=0, ge=0)
    """And so many of the others: those with the best `best_metric`."""
    best_metric: str = "loss"
    """loss, gradient_norm or a name among a step's metrics: its mean over the steps since the checkpoint before counts. Or the
    name of a score that evaluation beside the training gives (train.watch), as digits/zero_shot/top1/ensemble; it counts for a
    checkpoint of the same step, which is kept until the score is there. A name that can never occur is refused before work, with
    those that will."""
    best_is: Literal["auto", "lowest", "highest"] = "auto"
    """Whether a small or a large `best_metric` is good; auto: small losses, norms and bits, large accuracies and scores."""
    asynchronous: bool = True
    """Copy the state to the host's memory and write it while training goes on; the next save waits for it."""
    seconds_after_sigterm: float = Field(default=0.0, ge=0)
    """How long the processes live after SIGTERM (Slurm: `--signal=TERM@120` is 120; Kubernetes: 30 by default): the run saves
    at once, trains on, and saves again before the end. 0: save and leave at once.
    """
    preemption_poll_seconds: float = Field(default=5.0, gt=0)
    """How often a scheduler that gives notice (Ray) is asked for it."""

    @property
    def is_lowest_best(self) -> bool:
        """What `best_is` comes to for this metric."""
        words = self.best_metric.replace("/", "_").split("_")
        return self.best_is == "lowest" or (self.best_is == "auto" and any(word in FALLING for word in words))
