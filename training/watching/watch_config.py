"""WatchConfig: the `train.watch` section of a recipe: what is measured beside the loss. Changes no weight."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.settings import Settings
from training.watching.cards import CARDS


class WatchConfig(Settings):
    """What is measured while training goes on, and what `openwit plan` assumes of the machine."""

    card: str | None = None
    """The GPU whose peak MFU and forecasts are counted against, such as `h100`; null: the one that is there, measured on
    a CPU. `openwit plan` takes an H100 for null, and says so."""
    assumed_mfu: float = Field(default=0.25, gt=0, le=1)
    """Share of the card's peak that `openwit plan` counts with. Published: 0.11-0.13 (open_clip, A100), 0.21-0.39 (NeMo)."""
    evaluate_every_steps: int = Field(default=0, ge=0)
    """Measure a snapshot of the weights each so many steps, in a process beside the ranks, which go on; 0 is never. Only `openwit
    train` and `run` do. Where that is slower than the steps between, snapshots are passed over (`openwit plan` foresees it)."""
    evaluate_tasks: tuple[str, ...] = ("digits", "scenes")
    """Tasks of `openwit tasks` for that; small ones."""
    evaluate_protocols: tuple[Literal["zero_shot", "linear_probe"], ...] = ("zero_shot", "linear_probe")
    """Ways of measuring for that; one that the model's family cannot do is left out."""
    evaluate_gpus: float = Field(default=0.0, ge=0)
    """GPUs that this evaluation reserves on the cluster; 0 runs it on spare CPU time, at low priority."""

    @field_validator("card")
    @classmethod
    def _known_card(cls, name: str | None) -> str | None:
        if name is not None and name not in CARDS:
            raise ValueError(f"{name!r} is no card that is known here; choose one of {', '.join(CARDS)}")
        return name
