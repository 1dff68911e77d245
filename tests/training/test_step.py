"""The step: an update does not depend on ranks, chunks, ZeRO stage or how often the forward pass runs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gradient_cells
import pytest
import torch
from gradient_cells import Cell
from ranks import on_ranks
from torch import Tensor, nn

from training.data.batch import Batch
from training.engine.engine import Engine
from training.engine.ranks import join
from training.models import draws
from training.objectives.objective import Objective, make_objective
from training.step import compute

# Each loss under each stage with a gradient cache and random draws, and plainly under the two that differ most.
CELLS = [Cell(loss, 4, stage, 0.5) for loss in ("contrastive", "sigmoid") for stage in (0, 1, 2, 3)]
CELLS += [Cell("contrastive", 1, 3, 0.5), Cell("sigmoid", 1, 0, 0.0)]


def test_two_ranks_under_every_zero_stage_update_like_one_process_with_the_whole_batch(tmp_path: Path) -> None:
    on_ranks(2, gradient_cells.one_rank, 2, str(tmp_path), CELLS)
    for cell, (weights, shared, _) in zip(CELLS, json.loads(Path(tmp_path, "errors.json").read_text()), strict=True):
        assert weights < 1e-6, cell
        assert shared < 1e-6, cell


def test_one_rank_s_chunks_update_like_the_whole_batch() -> None:
    cells = [Cell("contrastive", 4, 0, 0.5), Cell("sigmoid", 16, 0, 0.0)]
    for weights, shared, _ in gradient_cells.errors(join(), cells):
        assert weights < 1e-6
        assert shared < 1e-6


def test_on_one_rank_weights_that_no_loss_reads_decay_as_they_do_on_several() -> None:
    cell, batch = Cell("contrastive", 1, 0, 0.0), gradient_cells.whole_batch()
    settings = gradient_cells.config(cell, 1).model_copy(update={"weight_decay": 0.5})
    model = gradient_cells.model(cell)
    model.unread = nn.Linear(2, 2, bias=False)
    start = model.unread.weight.detach().clone()
    engine = Engine(model, settings, join())
    objective = make_objective(settings, gradient_cells.spec(cell))
    compute(engine, objective, batch, torch.zeros(gradient_cells.ROWS, dtype=torch.long))
    engine.update(0.1)
    torch.testing.assert_close(engine.weights()["unread.weight"], start * (1 - 0.1 * 0.5))
    engine.close()


class Noisy(nn.Module):
    """Draws from torch's own state, as a library's dropout would, and averages what it saw in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.BatchNorm1d(3, affine=False)
        self.layer = nn.Linear(3, 3, bias=False)
        self.drawn: list[Tensor] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.drawn.append(torch.rand(len(x), 3))
        y = self.layer(self.seen(x)) * self.drawn[-1]
        return y, self.layer.weight.sum()[None]


@dataclass
class PlainEngine:
    """The engine's two methods without DeepSpeed."""

    model: nn.Module

    def forward(self, *inputs: Tensor) -> Any:
        return self.model(*inputs)

    def backward(self, loss: Tensor) -> None:
        loss.backward()


class Coupled(Objective):
    needs = frozenset()
    pairs: ClassVar[bool] = True

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        return (batch.pixels,)

    def loss(self, outputs: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return (outputs[0] @ outputs[0].T).square().mean() * outputs[1].sum(), {}


class ByRow(Coupled):
    pairs = False

    def loss(self, outputs: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss_B = outputs[0].square().sum(dim=1) * batch.pixels[:, 0]
        return loss_B.mean(), {"rows": torch.tensor([float(len(loss_B))]), "first": batch.pixels[:, :1].mean(dim=0)}


def batch(rows: int) -> Batch:
    return Batch(
        torch.randn(rows, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(rows, 1), tuple(range(rows))
    )


def test_the_cache_replays_torch_s_own_draws_and_moves_averages_once() -> None:
    torch.manual_seed(0)
    model = Noisy()
    compute(PlainEngine(model), Coupled(), batch(8), torch.zeros(8, dtype=torch.long), 4)  # type: ignore[arg-type]
    assert len(model.drawn) == 8
    assert all(torch.equal(first, again) for first, again in zip(model.drawn[:4], model.drawn[4:], strict=True))
    assert int(model.seen.num_batches_tracked) == 4

    # The slow twin: one graph over all chunks, with the same draws and the same batch norm per chunk.
    twin = Noisy()
    twin.load_state_dict({"layer.weight": model.layer.weight}, strict=False)
    parts = [
        twin.layer(twin.seen(part)) * drawn for part, drawn in zip(batch(8).pixels.chunk(4), model.drawn, strict=False)
    ]
    loss, _ = Coupled().loss((torch.cat(parts), twin.layer.weight.sum()[None]), batch(8))
    loss.backward()
    torch.testing.assert_close(model.layer.weight.grad, twin.layer.weight.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.seen.running_mean, twin.seen.running_mean)


@pytest.mark.parametrize("chunks", [1, 3, 20])
def test_a_loss_by_rows_is_accumulated_with_each_chunk_s_weight(chunks: int) -> None:
    """Seven rows in three chunks are 2, 2 and 3; in twenty, seven of one."""
    model = nn.Linear(3, 3)
    wrapped = PlainEngine(nn.Sequential(model))
    engine: Any = PlainEngine(wrapped.model)
    engine.forward = lambda x: (wrapped.model(x), None)
    outcome = compute(engine, ByRow(), batch(7), torch.zeros(7, dtype=torch.long), chunks)
    found = model.weight.grad
    model.zero_grad()
    loss, metrics = ByRow().loss((model(batch(7).pixels), None), batch(7))
    loss.backward()
    torch.testing.assert_close(found, model.weight.grad)
    torch.testing.assert_close(outcome.loss, loss.detach())
    torch.testing.assert_close(outcome.metrics["first"], metrics["first"])


def test_draws_are_uniform_functions_of_the_row_s_key_and_the_purpose() -> None:
    keys = torch.tensor([5, -7, 5, 2**62])
    device = torch.device("cpu")
    with draws.row_draws(keys):
        first = draws.uniform(4, 50_000, device, draws.PATCHES)
        other = draws.uniform(4, 50_000, device, draws.MASK)
        with pytest.raises(ValueError, match="3 rows draw and 4 keys"):
            draws.uniform(3, 1, device, draws.MASK)
    with draws.row_draws(keys[1:2]):
        assert torch.equal(draws.uniform(1, 50_000, device, draws.PATCHES)[0], first[1])
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first, other)
    assert float(first.min()) >= 0
    assert float(first.max()) < 1
    # 50,000 numbers in ten bins: 5,000 each, deviation 67; neighbours, rows and purposes do not follow one another.
    assert (torch.histc(first[0], 10, 0, 1) - 5000).abs().max() < 350
    for one, two in ((first[0, 1:], first[0, :-1]), (first[0], first[1]), (first[0], other[0])):
        assert abs(float(torch.corrcoef(torch.stack([one, two]))[0, 1])) < 0.025
