"""Weights of one model for another that differs in its classes, its picture size or its heads: the start of fine-tuning
(arXiv:2010.11929, section 3.2: a new head of zeros, positions interpolated in 2-D).
"""

from collections.abc import Mapping

from torch import Tensor

from pipeline.errors import DataError
from training.models.positions import resized_grid

POSITIONS = "visual.positional_embedding"
POOL_POSITIONS = "visual.attnpool.positional_embedding"
HEADS = ("head.", "class_head.", "representation.")
"""What fine-tuning may begin anew. iGPT's own `head.` is of the palette's size and always fits."""


def adapted(weights: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """(values by the names of `fresh`, the names that keep their fresh values), from a trained model's `weights`.

    `fresh` is the new model's state dict. Names that only the trained one has are heads that the new one does without.
    Raises DataError naming the first tensor that does not fit.
    """
    found: dict[str, Tensor] = {}
    kept = []
    for name, own in fresh.items():
        given = weights.get(name)
        if given is not None and given.shape == own.shape:
            found[name] = given
        elif given is not None and name in (POSITIONS, POOL_POSITIONS) and given.ndim == 2 and given.shape[1] == own.shape[1]:
            found[name] = _positions(given, own)
        elif name.startswith(HEADS):
            found[name] = own
            kept.append(name)
        elif given is None:
            raise DataError(f"the checkpoint to start from has no {name}: it is of another model; name one of this model")
        else:
            raise DataError(
                f"the checkpoint to start from has {name} of {_size(given)}, this model of {_size(own)}; name a checkpoint of"
                " the same sizes"
            )
    extra = [name for name in weights if name not in fresh and not name.startswith(HEADS)]
    if extra:
        raise DataError(f"the checkpoint to start from has {extra[0]}, which this model has not; name one of this model")
    return found, tuple(kept)


def _positions(given_TW: Tensor, own_TW: Tensor) -> Tensor:
    made_TW = resized_grid(given_TW, int(own_TW.shape[0] ** 0.5), POSITIONS)
    if made_TW.shape != own_TW.shape:
        raise DataError("one of the two models has a class token and the other none; start from a checkpoint with the same pooling")
    return made_TW


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
