"""From a running engine to a Part on the host, and back into a fresh engine of any ZeRO stage and world size.

The copy is all that training waits for; buffers on the host are kept from one save to the next (pinned beside a GPU, where
that makes the copy several times as fast).
"""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.errors import DataError
from training.saving.blocks import BUFFER, WEIGHT, Block, Fragment
from training.saving.parts import Part, Piece, State


class Stateful(Protocol):
    """What a checkpoint needs of an engine."""

    def names(self) -> Iterable[str]: ...
    def blocks(self) -> Iterable[Block]: ...
    def extras(self) -> Iterable[Fragment]: ...
    def counts(self) -> dict[str, float]: ...
    def take_counts(self, values: dict[str, float]) -> None: ...
    def after_writing(self) -> None: ...


class HostCopies:
    """Of one rank."""

    def __init__(self) -> None:
        self._host: dict[tuple[str, str], Tensor] = {}

    @torch.no_grad()
    def take(self, state: Stateful) -> Part:
        """The state now. The Part is valid until the next call."""
        part = Part(counts=state.counts())
        device = None
        for block in state.blocks():
            with block.open():
                for fragment in block.fragments():
                    device = self._copy(part, fragment) or device
                if block.mine:
                    part.scalars.update(dict.fromkeys(block.names, block.scalars()))
                    part.groups.append((block.names, block.settings()))
        for fragment in state.extras():
            device = self._copy(part, fragment) or device
        if device is not None:
            torch.cuda.synchronize(device)
        part.groups = _joined(part.groups)
        return part

    def _copy(self, part: Part, fragment: Fragment) -> torch.device | None:
        """The device to wait for, where the copy goes on by itself."""
        if not fragment.mine or fragment.numel == 0:
            return None
        source, key = fragment.read(), (fragment.key, fragment.name)
        host = self._host.get(key)
        if host is None or host.shape != source.shape:
            host = torch.empty(source.shape, dtype=source.dtype, pin_memory=source.is_cuda)
            self._host[key] = host
        host.copy_(source, non_blocking=True)
        part.pieces.append(Piece(fragment.name, fragment.key, fragment.shape, fragment.start, host))
        return source.device if source.is_cuda else None


def _joined(groups: list[tuple[list[str], dict[str, Any]]]) -> list[tuple[list[str], dict[str, Any]]]:
    """Parameters of equal settings together."""
    out: list[tuple[list[str], dict[str, Any]]] = []
    for names, settings in groups:
        for known, same in out:
            if same == settings:
                known.extend(names)
                break
        else:
            out.append((list(names), settings))
    return out


@torch.no_grad()
def restore(target: Stateful, source: State) -> None:
    """Put a saved state into an engine that has made no step yet. Collective.

    Raises DataError naming the first thing that the one has and the other has not.
    """
    for name in sorted(set(target.names()) ^ set(source.names(WEIGHT))):
        side = "has no such parameter" if name in source.names(WEIGHT) else "needs it"
        raise DataError(f"{source.folder}: parameter {name} is in one of the two only (this model {side})")
    for block in target.blocks():
        with block.open():
            if not block.names:
                continue
            if source.is_optimized(block.names):
                block.make_state()
            for fragment in block.fragments():
                _fill(fragment, source)
            block.take(source.scalars.get(block.names[0], {}), source.settings.get(block.names[0], {}))
    for fragment in target.extras():
        _fill(fragment, source)
    target.take_counts(source.counts)
    target.after_writing()


def _fill(fragment: Fragment, source: State) -> None:
    saved = source.shapes.get((fragment.key, fragment.name))
    if saved is None and not source.is_optimized([fragment.name]) and fragment.key not in (WEIGHT, BUFFER):
        return  # a parameter that has had no gradient yet
    if saved != fragment.shape:
        said = "has none" if saved is None else f"has shape {saved}"
        raise DataError(
            f"{source.folder}: {fragment.key} of {fragment.name} is {fragment.shape} here; the checkpoint {said}"
        )
    if fragment.numel:
        fragment.write(
            source.read(fragment.key, fragment.name, fragment.start, fragment.numel).to(fragment.tensor.device)
        )
