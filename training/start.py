"""The weights that a run begins with: fresh ones, or those of a finished checkpoint (fine-tuning, LiT, LoRA)."""

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from training.checkpoint import Checkpoint
from training.config import TrainConfig
from training.models.base import Model
from training.models.positions import resized_grid

if TYPE_CHECKING:
    from torch import Tensor

POSITIONS = ("visual.positional_embedding", "positional_embedding")


def start_from(model: Model, config: TrainConfig) -> None:
    """Give `model` all weights of `train.start_from` that it has too; positions are brought to its picture size.

    Parts that only one of the two has stay fresh, or are left out: a classifier's head over an image tower, another text tower.
    Raises ConfigError where a weight of the same name has another shape, and where not one fits.
    """
    if config.start_from is None:
        return
    theirs = Checkpoint.load(config.start_from).model().state_dict()
    ours = model.state_dict()
    taken: dict[str, Tensor] = {}
    for name, weight in theirs.items():
        if name not in ours:
            continue
        wanted = ours[name]
        if name in POSITIONS and weight.shape != wanted.shape and weight.ndim == 2:
            weight = resized_grid(weight, int(wanted.shape[0] ** 0.5), name)
        if weight.shape != wanted.shape:
            if name.split(".")[0] in ("head", "class_head"):
                continue  # other classes: this run's own head stays fresh
            raise ConfigError(
                f"train.start_from {config.start_from}: {name} is {tuple(weight.shape)} there and {tuple(wanted.shape)} in"
                f" {config.model}; choose a checkpoint of the same sizes"
            )
        taken[name] = weight
    if not taken:
        raise ConfigError(f"train.start_from {config.start_from}: no weight has a name that {config.model} has")
    model.load_state_dict(taken, strict=False)
