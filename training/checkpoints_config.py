"""CheckpointsConfig: the `train.checkpoints` section of a recipe."""

from pydantic import Field

from pipeline.settings import Settings


class CheckpointsConfig(Settings):
    """When a run can be resumed from, and what is kept."""

    every_steps: int = Field(default=500, ge=1)
    """A resumable checkpoint each so many steps."""
    keep: int = Field(default=2, ge=1)
    """The newest so many; an older one serves when the newest is damaged."""
