"""Weights of one model for another that differs in its classes, its picture size or its heads: the start of fine-tuning
(arXiv:2010.11929, section 3.2: a new head of zeros, positions interpolated in 2-D).
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from pipeline.errors import ConfigError
from training.models.positions import resized_grid

POSITIONS = ("visual.positional_embedding", "visual.attnpool.positional_embedding", "positional_embedding")
TEXT_POSITIONS = "text.positional_embedding"
"""A causal text tower computes the same of a text that fits whatever positions come behind it: shorter contexts are cut."""
HEADS = ("head", "class_head", "representation")
"""Parts that fine-tuning may begin anew, whatever their sizes."""


def adapted(
    weights: Mapping[str, Tensor],
    fresh: Mapping[str, Tensor],
    where: str,
    rows: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Tensor]:
    """What a model with the state dict `fresh` takes of a trained one's `weights`; names that are missing stay fresh.

    A part (the first word of a name) that only one of the two has is left out: a head, another text tower. One that both
    have must fit wholly. `rows` says of a head which row of the trained one each class has; () that
    all are others.

    Raises ConfigError that begins with `where` and names the first tensor that does not.
    """
    parts = {part_of(name) for name in weights} & {part_of(name) for name in fresh} - set(HEADS)
    if not parts:
        raise ConfigError(
            f"{where}: no weight has a name that this model has; name a checkpoint of one that shares a part"
        )
    found = {}
    for name, own in fresh.items():
        given = weights.get(name)
        part = part_of(name)
        if part in HEADS and (given is None or given.shape != own.shape):
            continue  # other classes
        if given is not None and rows is not None and part in rows:
            if not rows[part]:
                continue  # as many, but others
            given = given[list(rows[part])]
        if given is None:
            if part in parts:
                raise ConfigError(
                    f"{where}: it has no {name}, so it is of another model; name one of this model's sizes"
                )
            continue
        if name in POSITIONS and given.shape != own.shape and given.ndim == 2:
            given = resized_grid(given, int(own.shape[0] ** 0.5), name)
        if name == TEXT_POSITIONS and len(given) > len(own):
            given = given[: len(own)]
        if given.shape != own.shape:
            raise ConfigError(
                f"{where}: {name} is {_size(given)} there and {_size(own)} in this model; name a checkpoint of the same sizes"
            )
        found[name] = given
    more = [name for name in weights if name not in fresh and part_of(name) in parts]
    if more:
        raise ConfigError(f"{where}: it has {more[0]}, which this model has not; name one of this model's sizes")
    return found


def part_of(name: str) -> str:
    return name.split(".", 1)[0]


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
