"""Tensors under two names: a model's own and those of another library, with what must be done to go from one to the other.

A table of links is made from a spec alone and read in both directions, so that import and export cannot drift apart, and
every tensor of either side is accounted for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Sequence["Tensor"]


@dataclass(frozen=True)
class Form:
    """How tensors change sides: `read` from theirs to ours, `write` from ours to theirs; each takes and gives a list."""

    read: Callable[[Tensors], list["Tensor"]]
    write: Callable[[Tensors], list["Tensor"]]


@dataclass(frozen=True)
class Link:
    """Ours and theirs: one name each for most; several where one side keeps together what the other cuts."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    form: Form


def _same(tensors: Tensors) -> list["Tensor"]:
    return list(tensors)


def _transposed(tensors: Tensors) -> list["Tensor"]:
    return [tensor.T.contiguous() for tensor in tensors]


SAME = Form(_same, _same)
TRANSPOSED = Form(_transposed, _transposed)
"""A matrix that multiplies from the other side."""
SCALAR = Form(lambda theirs: [theirs[0].reshape(1)], lambda ours: [ours[0].reshape(())])
"""() there, (1,) here."""


def leading(axes: int) -> Form:
    """Theirs has so many axes of length 1 in front."""
    return Form(
        lambda theirs: [theirs[0].reshape(theirs[0].shape[axes:])],
        lambda ours: [ours[0].reshape((1,) * axes + tuple(ours[0].shape))],
    )


def rows(parts: int) -> Form:
    """Ours is `parts` of theirs, one under the other: queries, keys and values in one projection."""

    def read(theirs: Tensors) -> list["Tensor"]:
        import torch

        return [torch.cat(list(theirs))]

    return Form(read, lambda ours: [part.contiguous() for part in ours[0].chunk(parts)])


def zeros(width: int) -> Form:
    """Theirs alone, (width,), and nothing but zeros."""

    def read(theirs: Tensors) -> list["Tensor"]:
        if theirs[0].any():
            raise DataError("a bias is not zero, and this model has none; it is not the released architecture")
        return []

    def write(ours: Tensors) -> list["Tensor"]:
        import torch

        return [torch.zeros(width)]

    return Form(read, write)


def link(ours: str, theirs: str, form: Form = SAME) -> Link:
    return Link((ours,), (theirs,), form)


def both(ours: str, theirs: str) -> list[Link]:
    """A layer's weight and bias."""
    return [link(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


def to_ours(links: Iterable[Link], tensors: Mapping[str, "Tensor"], where: str) -> dict[str, "Tensor"]:
    """Their tensors by our names. Raises DataError for a name that is missing or not of this model."""
    made: dict[str, Tensor] = {}
    left = set(tensors)
    for each in links:
        missing = [name for name in each.theirs if name not in tensors]
        if missing:
            raise DataError(f"{where}: tensor {missing[0]} is missing; the weights are not those of its configuration")
        made.update(zip(each.ours, each.form.read([tensors[name] for name in each.theirs]), strict=True))
        left -= set(each.theirs)
    if left:
        raise DataError(
            f"{where}: tensor {min(left)} is not of this model; the weights are not those of its configuration"
        )
    return made


def to_theirs(links: Iterable[Link], weights: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Our tensors by their names."""
    made: dict[str, Tensor] = {}
    for each in links:
        made.update(zip(each.theirs, each.form.write([weights[name] for name in each.ours]), strict=True))
    return made
