"""The weights that a run begins with: fresh ones, or those of a finished checkpoint (fine-tuning, LiT, LoRA)."""

from training.checkpoint import Checkpoint
from training.config import TrainConfig
from training.models.adapt import adapted
from training.models.base import Model


def start_from(model: Model, config: TrainConfig) -> None:
    """Give `model` all weights of `train.start_from` that it has too; positions are brought to its picture size.

    Parts that only one of the two has stay fresh, or are left out: a classifier's head over an image tower, another text tower.
    Raises ConfigError where a weight of the same name has another shape, and where not one fits.
    """
    if config.start_from is None:
        return
    theirs = Checkpoint.load(config.start_from).model().state_dict()
    taken = adapted(theirs, model.state_dict(), f"train.start_from {config.start_from}")
    model.load_state_dict(taken, strict=False)
