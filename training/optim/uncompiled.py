"""Torch's optimizers without torch.compile, which a rank would otherwise import to take its first step: 2 s of processor time
and 100 MB in each rank, for a mark ("do not compile this") on functions that nobody compiles.

Torch imports its compiler in two places: `torch._disable_dynamo` at the first call of each method that bears it, and the
wrapper of every `step`, to break a graph that is being traced. The results are the same; where a later torch does either
differently, these two functions do nothing and a rank is slower to start. Blocks that the config has compiled lie outside.
"""

import inspect
from types import MethodType
from typing import TypeVar

import torch

AnyOptimizer = TypeVar("AnyOptimizer", bound=torch.optim.Optimizer)


def methods_without_compiler() -> None:
    """Say of each method that torch keeps from its compiler that it is kept already. For the whole process, any number of times."""
    # One wrapper's code, shared by all that it wraps.
    marked = getattr(torch.optim.Optimizer.add_param_group, "__code__", None)
    for method in vars(torch.optim.Optimizer).values():
        kept = getattr(method, "__wrapped__", None)
        if kept is not None and getattr(method, "__code__", None) is marked:
            setattr(kept, "__dynamo_disable", kept)


def step_without_compiler(optimizer: AnyOptimizer) -> AnyOptimizer:
    """The same optimizer, its step under no_grad and torch's profiling hook alone."""
    plain = inspect.unwrap(type(optimizer).step)
    step = torch.optim.Optimizer.profile_hook_step(torch.no_grad()(plain))
    optimizer.step = MethodType(step, optimizer)  # type: ignore[method-assign]
    return optimizer
