"""One training step's forward and backward: the batch through the engine, the objective's loss, its gradient, in chunks.

An objective that judges samples one by one is accumulated chunk by chunk, each weighted by its rows. One that couples the
samples of the global batch goes through a gradient cache (Gao et al. 2021, "Scaling deep contrastive learning batch size under
memory limited setup", arXiv:2101.06983), whose update is the big batch's, exactly:

1. all chunks forward without a graph, keeping only each row's outputs;
2. the loss of all rows, and its gradient in the outputs: one gather forward, one reduce-scatter backward;
3. all chunks forward again, each with the gradient of its own outputs pushed through it. What all rows share (temperature,
   bias) comes out of every chunk, so each takes its share 1/chunks of that gradient (open_clip's accumulation gives each
   the whole: the temperature's gradient times the chunks).

Pass 3 draws what pass 1 drew: a model's draws are functions of its rows' keys (training/models/draws.py), and torch's random
state is put back for whatever else draws. Batch norm's averages move once, not twice.

Collectives beside the two of pass 2: ZeRO 0 and 1 average gradients once a step, 2 once a chunk, and 3 also gathers its
weights three times a chunk (twice forward, once backward).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from training.data.batch import Batch
from training.engine.engine import Engine
from training.models.draws import row_draws
from training.objectives.objective import Objective


@dataclass(frozen=True)
class Outcome:
    """`loss` is this rank's share of the mean, not yet averaged over ranks; `metrics` are one-element tensors by name."""

    loss: Tensor
    metrics: dict[str, Tensor]


def compute(engine: Engine, objective: Objective, batch: Batch, keys_B: Tensor, chunks: int = 1) -> Outcome:
    """This rank's rows against the global batch. Gradients are left in the engine; nothing is updated yet.

    `keys_B` (int64, training/data/order.py: row_keys) decide what the model draws for each row. There are never more chunks
    than rows.
    """
    parts = _parts(len(batch.pixels), chunks)
    if len(parts) == 1:
        return _at_once(engine, objective, batch, keys_B)
    if objective.pairs:
        return _cached(engine, objective, batch, keys_B, parts)
    return _accumulated(engine, objective, batch, keys_B, parts)


def _at_once(engine: Engine, objective: Objective, batch: Batch, keys_B: Tensor, weight: float = 1.0) -> Outcome:
    with row_draws(keys_B):
        outputs = engine.forward(*objective.inputs(batch))
        loss, metrics = objective.loss(outputs, batch)
        loss = loss * weight
        engine.backward(loss)
    return Outcome(loss.detach(), {name: value * weight for name, value in metrics.items()})


def _accumulated(engine: Engine, objective: Objective, batch: Batch, keys_B: Tensor, parts: list[slice]) -> Outcome:
    outcomes = [
        _at_once(engine, objective, _rows(batch, part), keys_B[part], (part.stop - part.start) / len(keys_B))
        for part in parts
    ]
    names = outcomes[0].metrics
    loss = torch.stack([outcome.loss for outcome in outcomes]).sum()
    return Outcome(loss, {name: sum(outcome.metrics[name] for outcome in outcomes) for name in names})  # type: ignore[misc]


def _cached(engine: Engine, objective: Objective, batch: Batch, keys_B: Tensor, parts: list[slice]) -> Outcome:
    pieces = [_rows(batch, part) for part in parts]
    states, outputs = [], []
    with torch.no_grad(), _buffers_kept(engine.model):
        for part, piece in zip(parts, pieces, strict=True):
            states.append(_random_state())
            with row_draws(keys_B[part]):
                outputs.append(engine.forward(*objective.inputs(piece)))
    rows = objective.row_outputs
    leaves = [torch.cat(each) for each in zip(*(output[:rows] for output in outputs), strict=True)]
    leaves = [leaf.requires_grad_() for leaf in (*leaves, *(shared.clone() for shared in outputs[0][rows:]))]
    del outputs
    loss, metrics = objective.loss(tuple(leaves), batch)
    slopes = torch.autograd.grad(loss, leaves, allow_unused=True)  # a bias that this loss does not read
    for part, piece, state in zip(parts, pieces, states, strict=True):
        _set_random_state(state)
        with row_draws(keys_B[part]):
            again = engine.forward(*objective.inputs(piece))
            engine.backward(_pushed(again, slopes, rows, part, len(parts)))
    return Outcome(loss.detach(), metrics)


def _pushed(
    outputs: tuple[Tensor, ...], slopes: tuple[Tensor | None, ...], rows: int, part: slice, chunks: int
) -> Tensor:
    """A number whose gradient in the weights is this chunk's share of the whole loss's. The first `rows` outputs have a row
    per sample; a slope is None where the loss does not read an output (the bias of a model that learns contrastively)."""
    terms = []
    for place, (output, slope) in enumerate(zip(outputs, slopes, strict=True)):
        if slope is not None:
            terms.append((output * (slope[part] if place < rows else slope / chunks)).sum())
    return torch.stack(terms).sum()


def _parts(rows: int, chunks: int) -> list[slice]:
    """`rows` in so many runs that differ by one row at most."""
    chunks = min(chunks, rows)
    edges = [rows * chunk // chunks for chunk in range(chunks + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _rows(batch: Batch, part: slice) -> Batch:
    """Some rows of the batch; a field that a family does not have stays None."""
    values: dict[str, Any] = {each.name: getattr(batch, each.name) for each in fields(batch)}
    cut: dict[str, Any] = {name: value if value is None else value[part] for name, value in values.items()}
    return replace(batch, **cut)


def _random_state() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


def _set_random_state(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state_all(state[1:])


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """A forward pass inside leaves no trace in the model's buffers."""
    before: list[tuple[Any, Tensor]] = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
