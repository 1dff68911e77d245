"""Activation checkpointing (Chen et al. 2016, arXiv:1604.06174) and torch.compile, block by block, from outside of the model.

A block is a child, with parts of its own, of a ModuleList or a Sequential (a transformer's block, a ResNet's bottleneck). Models
do not know of it: the block's `forward` is replaced on the instance, names and parameters stay.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def blocks_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The repeated parts of a model with their names, in order; none lies within another."""
    found: list[tuple[str, nn.Module]] = []

    def search(name: str, module: nn.Module) -> None:
        for key, child in module.named_children():
            path = f"{name}.{key}" if name else key
            holds = isinstance(child, nn.ModuleList | nn.Sequential)
            listed = isinstance(module, nn.ModuleList | nn.Sequential) and any(True for _ in child.children())
            if listed and not holds:
                found.append((path, child))
            else:
                search(path, child)

    search("", model)
    return found


def recompute_blocks(model: nn.Module) -> int:
    """Keep each block's input only; returns the number of blocks. Random draws are replayed."""
    blocks = blocks_of(model)
    for _, block in blocks:
        contexts = functools.partial(_contexts, block)
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)
    return len(blocks)


def _contexts(block: nn.Module) -> tuple[Any, Any]:
    return contextlib.nullcontext(), _still_statistics(block)


@contextlib.contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """The second forward pass must not move the running statistics of batch norms once more: it moves copies."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    kept = [(norm.running_mean, norm.running_var, norm.num_batches_tracked) for norm in norms]
    for norm, statistics in zip(norms, kept, strict=True):
        _set_statistics(norm, tuple(None if each is None else each.clone() for each in statistics))
    try:
        yield
    finally:
        for norm, statistics in zip(norms, kept, strict=True):
            _set_statistics(norm, statistics)


def _set_statistics(norm: _BatchNorm, statistics: Any) -> None:
    norm.running_mean, norm.running_var, norm.num_batches_tracked = statistics


def compile_blocks(model: nn.Module) -> int:
    """torch.compile for each block in place: one compilation serves all blocks of one shape; returns their number."""
    blocks = blocks_of(model)
    for _, block in blocks:
        block.compile()
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
    return len(blocks)
