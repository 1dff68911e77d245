"""What a model takes from the data before it is trained: its tokenizer's sizes, how many classes, the first pictures."""

from typing import TYPE_CHECKING

from training.config import TrainConfig
from training.data.check import check
from training.data.loader import Loader
from training.data.sources import Data, open_data
from training.objectives.objective import fit_spec, make_objective
from training.saving.start import starting_spec, starting_tokenizer
from training.spec import get_spec
from training.specs.base import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor


def opened(config: TrainConfig, dataset: str = "") -> Data:
    """The data that this training learns from, without the samples that lack what its objective needs.

    Raises ConfigError and DataError, one line each, for all that can be said before work.
    """
    data = open_data(config.data, dataset)
    needs = make_objective(config, fitted(config, data)).needs
    data = data.needing(needs)
    check(config, data, needs)
    return data


def fitted(config: TrainConfig, data: Data | None) -> ModelSpec:
    """The configured model at the configured picture size, with the tokenizer's sizes and the data's number of classes, where it is
    there already."""
    spec = get_spec(config.model).with_text(config.vocabulary_size, config.context_length)
    spec = spec if config.image_size is None else spec.with_image_size(config.image_size)
    spec = fit_spec(config, spec)
    names_classes = config.objective.kind_for(spec.family) in ("classify", "joint")
    return spec.with_classes(len(data.classes)) if names_classes and data and data.classes else spec


def require_start(config: TrainConfig, data: Data | None) -> None:
    """Raises, one line each, what the training would raise of the model of `train.start_from` before its weights are looked at."""
    starting_spec(fitted(config, data), config)
    starting_tokenizer(config)


def first_pictures(config: TrainConfig, data: Data, size: int, count: int) -> "Tensor":
    """(count, 3, size, size) uint8: the stream's first pictures as training sees them, the same on every rank."""
    one_batch = config.model_copy(update={"global_batch_size": count})
    return Loader(one_batch, data, None, size, rank=0, world_size=1).batch(0).pixels
