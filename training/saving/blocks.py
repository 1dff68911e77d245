"""Blocks: the tensors that an optimizer knows, and which piece of which parameter lies where in each.

ZeRO cuts weights and moments into flat buffers; a block is one of them (or a whole parameter, where nothing is cut). Nothing
here knows of DeepSpeed (training/engine/engine_state.py does): a block works with any torch optimizer, and asks it by itself what
its state looks like.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WEIGHT = "weight"
BUFFER = "buffer"
AVERAGE = "average"
PLAIN = (bool, int, float, str, type(None))
NOT_SETTINGS = ("params", "names")


@dataclass(frozen=True)
class Fragment:
    """Numbers `start` .. `start + numel` of a flattened whole of `shape`; `tensor` is where they live on this rank.

    `key` is "weight", "average" (of the weights), "buffer" or the optimizer's own word (exp_avg, ...); `mine` says whether
    this rank saves it.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    start: int
    tensor: Tensor
    mine: bool

    @property
    def numel(self) -> int:
        return self.tensor.numel()

    def read(self) -> Tensor:
        """The numbers, in one dimension; a view where that is possible."""
        return self.tensor.detach().reshape(-1)

    def write(self, values: Tensor) -> None:
        self.tensor.data.copy_(values.view(self.tensor.shape))


@dataclass(frozen=True)
class Place:
    """A parameter's piece in a block: `start` counts in the parameter, `offset` in the block."""

    name: str
    shape: tuple[int, ...]
    start: int
    offset: int
    numel: int


class Block:
    """One tensor that the optimizer knows (or, frozen, does not), and the pieces of parameters in it."""

    def __init__(
        self,
        values: Tensor,
        places: Sequence[Place],
        optimizer: torch.optim.Optimizer | None,
        group: int,
        mine: bool,
        shown: "contextlib.AbstractContextManager[None] | None" = None,
    ) -> None:
        self._values, self._places, self._optimizer, self._group = values, places, optimizer, group
        self.mine = mine
        self._shown = shown

    def open(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the values are in memory: where they live on NVMe they are brought from there and back."""
        return self._shown or contextlib.nullcontext()

    @property
    def names(self) -> list[str]:
        return [place.name for place in self._places]

    def _state(self) -> dict[str, Any]:
        if self._optimizer is None:
            return {}
        return dict(self._optimizer.state.get(self._values, {}))

    def scalars(self) -> dict[str, float]:
        """What the optimizer counts for this block, such as Adam's step."""
        found = {}
        for key, value in self._state().items():
            if (isinstance(value, Tensor) and value.ndim == 0) or (
                isinstance(value, int | float) and not isinstance(value, bool)
            ):
                found[key] = float(value)
        return found

    def settings(self) -> dict[str, Any]:
        """The group's hyperparameters that JSON can hold."""
        if self._optimizer is None:
            return {}
        group = self._optimizer.param_groups[self._group].items()
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in group
            if key not in NOT_SETTINGS
            and all(isinstance(x, PLAIN) for x in (value if isinstance(value, tuple) else [value]))
        }

    def fragments(self) -> Iterator[Fragment]:
        """Weights first, then each tensor of the optimizer's state. Only inside `open`."""
        yield from self._pieces(WEIGHT, self._values)
        for key, value in sorted(self._state().items()):
            if not isinstance(value, Tensor) or (value.ndim == 0 and self._values.ndim):
                continue
            if value.shape == self._values.shape:
                yield from self._pieces(key, value)
            elif len(self._places) == 1 and self._places[0].numel == math.prod(self._places[0].shape):
                # Not a number per weight (the rows and columns of a factored second moment): saved whole.
                yield Fragment(self._places[0].name, key, tuple(value.shape), 0, value, self.mine)
            else:
                raise RuntimeError(f"optimizer state {key} of shape {tuple(value.shape)} belongs to no one parameter")

    def _pieces(self, key: str, values: Tensor) -> Iterator[Fragment]:
        for place in self._places:
            whole = values.numel() == place.numel
            part = values if whole else values.view(-1).narrow(0, place.offset, place.numel)
            yield Fragment(place.name, key, place.shape, place.start, part, self.mine)

    def make_state(self) -> None:
        """Give a fresh optimizer the state that it would make at its first step, whatever optimizer it is.

        It is asked for a step of size zero on a stand-in of a few numbers (of the same shape, where state is no number per
        weight); what comes back with the stand-in's shape is made anew in the block's.
        """
        if self._optimizer is None or self._optimizer.state.get(self._values):
            return
        optimizer, flat = self._optimizer, self._values.ndim == 1
        like = torch.zeros(8 if flat else self._values.shape, dtype=self._values.dtype, device=self._values.device)
        stand_in = nn.Parameter(like)
        stand_in.grad = torch.zeros_like(like)
        groups = optimizer.param_groups
        optimizer.param_groups = [{**groups[self._group], "params": [stand_in], "lr": 0.0}]
        try:
            optimizer.step()
            made = optimizer.state.pop(stand_in, {})
        finally:
            optimizer.param_groups = groups
        optimizer.state[self._values] = {
            key: torch.zeros(self._values.shape, dtype=value.dtype, device=value.device)
            if flat and isinstance(value, Tensor) and value.shape == like.shape
            else value
            for key, value in made.items()
        }

    def take(self, scalars: Mapping[str, float], settings: Mapping[str, Any]) -> None:
        """The counts and settings that `scalars` and `settings` once gave, as the types that this optimizer uses."""
        if self._optimizer is None:
            return
        state = self._optimizer.state[self._values]
        for key, value in scalars.items():
            if isinstance(state.get(key), Tensor):
                state[key].fill_(value)
            elif key in state:
                state[key] = type(state[key])(value)
        group = self._optimizer.param_groups[self._group]
        for key, value in settings.items():
            if key in group and not isinstance(group[key], Tensor):
                group[key] = tuple(value) if isinstance(value, list) else value
