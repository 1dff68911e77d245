"""What an optimizer step needs and leaves, by parameter name, under any ZeRO stage.

DeepSpeed keeps weights and moments in flat buffers that each rank owns a cut of: per parameter group (stages 1, 2), per
sub-group of parameters that are cut one by one (stage 3), or whole on every rank (stage 0). Here each of these buffers is a
Block that knows which piece of which parameter lies where, so that what one stage and world size wrote can be read by
any other. Its own checkpoints are pickles tied to both; its universal ones lose the groups' settings under stage 3 and
share one `step` among sub-groups (stage3.py, load_hp_checkpoint_state_from_checkpoint_dir_stage3).

Everything is exact: values are copied, never recomputed.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from training.engine.nvme import fetched
from training.engine.precision import LossScale
from training.engine.ranks import Ranks
from training.optim.average import Average
from training.saving.blocks import AVERAGE, BUFFER, Block, Fragment, Place


class EngineState:
    """This rank's share of an engine's state.

    `engine` is DeepSpeed's; `model` the module inside it that bears the parameters' names; `average` that of
    the weights, `scale` the loss scale of half precision, where there are any.
    """

    def __init__(
        self,
        engine: Any,
        model: nn.Module,
        ranks: Ranks,
        average: Average | None = None,
        scale: LossScale | None = None,
    ) -> None:
        self._model, self._average, self._scale = model, average, scale
        self._rank, self._world = ranks.rank, ranks.world_size
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._wrapper = engine.optimizer
        self._stage = engine.zero_optimization_stage()

    def names(self) -> Iterable[str]:
        return self._names.values()

    def counts(self) -> dict[str, float]:
        return {} if self._scale is None else self._scale.state()

    def take_counts(self, values: dict[str, float]) -> None:
        if self._scale is not None and values:
            self._scale.take(values)

    def blocks(self) -> Iterator[Block]:
        """Those of the optimizer, then frozen parameters."""
        yield from {0: self._whole, 1: self._groups, 2: self._groups, 3: self._sub_groups}[self._stage]()
        yield from self._frozen()

    def extras(self) -> Iterator[Fragment]:
        """Averages, and the buffers that a state dict has: the first rank's count, and all ranks take them."""
        for name, shape, start, part in self._average.parts() if self._average else ():
            if part.numel():
                yield Fragment(name, AVERAGE, shape, start, part, True)
        known = self._model.state_dict(keep_vars=True)
        for name, value in self._model.named_buffers():
            if name in known:
                yield Fragment(name, BUFFER, tuple(value.shape), 0, value, self._rank == 0)

    def _whole(self) -> Iterator[Block]:
        """Stage 0: every rank has all; each saves its share."""
        inner = getattr(self._wrapper, "optimizer", self._wrapper)
        numbered = [(number, p) for number, group in enumerate(inner.param_groups) for p in group["params"]]
        owners = _shares([parameter.numel() for _, parameter in numbered], self._world)
        for (number, parameter), owner in zip(numbered, owners, strict=True):
            place = Place(self._names[id(parameter)], tuple(parameter.shape), 0, 0, parameter.numel())
            yield Block(parameter, [place], inner, number, owner == self._rank)

    def _groups(self) -> Iterator[Block]:
        """Stages 1 and 2: a flat buffer per parameter group, cut evenly over the ranks wherever that falls."""
        for number, values in enumerate(self._wrapper.single_partition_of_fp32_groups):
            places = []
            for parameter in self._wrapper.bit16_groups[number]:
                piece = parameter._hp_mapping
                if piece is None:
                    continue
                inside, whole = piece.hp_fragment_address, piece.lp_fragment_address
                name = self._names[id(parameter)]
                places.append(Place(name, tuple(parameter.shape), whole.start, inside.start, inside.numel))
            yield Block(values, places, self._wrapper.optimizer, number, True)

    def _sub_groups(self) -> Iterator[Block]:
        """Stage 3: every parameter cut evenly over the ranks, the last piece padded."""
        zero = self._wrapper
        for number, parameters in enumerate(zero.fp16_groups):
            places = []
            for parameter in parameters:
                at, offset, piece = zero.grad_position[zero.get_param_id(parameter)]
                assert at == number
                start = self._rank * piece
                numel = min(piece, parameter.ds_numel - start)
                if numel > 0:
                    shape = tuple(parameter.ds_shape)
                    places.append(Place(self._names[id(parameter)], shape, start, offset, numel))
            group = zero.sub_group_to_group_id[number]
            shown = _Swapped(zero, number) if zero._swappable_optimizer_subgroup(number) else None
            yield Block(zero.fp32_partitioned_groups_flat[number], places, zero.optimizer, group, True, shown)

    def _frozen(self) -> Iterator[Block]:
        still: list[tuple[str, Any]] = [(name, p) for name, p in self._model.named_parameters() if not p.requires_grad]
        owners = _shares([getattr(p, "ds_numel", p.numel()) for _, p in still], self._world)
        for (name, parameter), owner in zip(still, owners, strict=True):
            if self._stage < 3:
                place = Place(name, tuple(parameter.shape), 0, 0, parameter.numel())
                yield Block(parameter.data, [place], None, 0, owner == self._rank)
                continue
            piece = parameter.ds_tensor.ds_numel
            start = self._rank * piece
            numel = max(0, min(piece, parameter.ds_numel - start))
            places = [Place(name, tuple(parameter.ds_shape), start, 0, numel)] if numel else []
            yield Block(parameter.ds_tensor, places, None, 0, True, fetched(parameter))

    def after_writing(self) -> None:
        """Bring what the forward pass reads in line with the optimizer's own copies. Collective."""
        zero = self._wrapper
        with torch.no_grad():
            if self._stage in (1, 2):
                zero.update_lp_params()
            elif self._stage == 3:
                zero.checkpoint_event_prologue()
                for number in range(len(zero.fp16_groups)):
                    swapped = zero._swappable_optimizer_subgroup(number)
                    with _Swapped(zero, number) if swapped else contextlib.nullcontext():
                        zero._reassign_or_swap_out_partitioned_parameters(number)
                zero.checkpoint_event_epilogue()


class _Swapped(contextlib.AbstractContextManager[None]):
    """A sub-group whose optimizer state lives on NVMe, in memory for a while."""

    def __init__(self, zero: Any, number: int) -> None:
        self._zero, self._number = zero, number

    def __enter__(self) -> None:
        self._zero._optimizer_states_and_gradient_swap_in(self._number)

    def __exit__(self, *error: object) -> None:
        self._zero._optimizer_states_and_gradient_swap_out(self._number)


def _shares(sizes: Sequence[int], ranks: int) -> list[int]:
    """A rank for each size, the largest first to whom has least: the same answer on every rank."""
    load, owner = [0] * ranks, [0] * len(sizes)
    for number in sorted(range(len(sizes)), key=lambda each: (-sizes[each], each)):
        owner[number] = load.index(min(load))
        load[owner[number]] += sizes[number]
    return owner
