"""The pair losses in blocks against the plain ones with all logits at once: values, gradients, several ranks, precision."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import on_ranks
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional

from training.objectives.contrastive import contrastive_loss
from training.objectives.sigmoid import sigmoid_loss

ROWS = 24
TWICE = {1: 0, 13: 0, 23: 5}  # rows that say what another one says: within a rank's rows, and far apart
BLOCKS = (1, 40, 10_000)  # one column at a time; columns in uneven pieces; all at once


def plain_contrastive(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Figure 3 of CLIP, word for word."""
    logits = scale * image @ text.T
    labels = torch.arange(len(image))
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def plain_sigmoid(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Algorithm 1 of SigLIP."""
    logits = scale * image @ text.T + bias
    labels = 2 * torch.eye(len(image)) - 1
    return -functional.logsigmoid(labels * logits).sum() / len(image)


PLAIN = {"contrastive": plain_contrastive, "sigmoid": plain_sigmoid}


def ours(kind: str, embedded: tuple[Tensor, ...], block: int) -> tuple[Tensor, Tensor, Tensor]:
    return contrastive_loss(*embedded[:3], block) if kind == "contrastive" else sigmoid_loss(*embedded, block)  # type: ignore[arg-type]


def towers() -> tuple[torch.nn.Linear, torch.nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    scale, bias = torch.nn.Parameter(torch.tensor([2.6])), torch.nn.Parameter(torch.tensor([-2.0]))
    return torch.nn.Linear(12, 8), torch.nn.Linear(10, 8), scale, bias


def embed(model: Any, image: Tensor, text: Tensor) -> tuple[Tensor, ...]:
    return functional.normalize(model[0](image)), functional.normalize(model[1](text)), model[2].exp(), model[3]


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    texts = torch.randn(ROWS, 10, generator=generator)
    for row, other in TWICE.items():
        texts[row] = texts[other]
    return torch.randn(ROWS, 12, generator=generator), texts


def shared_hits(logits: Tensor) -> Tensor:
    """What a fair draw among the highest finds, row by row."""
    hits = []
    for row, values in enumerate(logits.tolist()):
        equals = [value for value in values if abs(value - values[row]) < 1e-9]
        hits.append(1 / len(equals) if max(equals) >= max(values) - 1e-9 else 0.0)
    return torch.tensor([sum(hits) / len(hits)])


def gradients(model: Any) -> list[Tensor]:
    parameters = (*model[0].parameters(), *model[1].parameters(), model[2], model[3])
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


def wanted(kind: str) -> list[Tensor]:
    """Loss, accuracies, gradients of the plain loss over the whole batch, in float64."""
    model = tuple(each.double() if isinstance(each, torch.nn.Module) else each for each in towers())
    image, text, scale, bias = embed(model, *(each.double() for each in inputs()))
    loss = PLAIN[kind](image, text, scale, bias)
    loss.backward()
    logits = image @ text.T
    right = [shared_hits(each) for each in (logits, logits.T)]
    return [each.float() for each in (loss.detach(), *right, *gradients(model))]


def assert_equal(found: list[Tensor], wanted: list[Tensor]) -> None:
    """To 1e-6 of the largest number among them, at least of 1: gradients of the sigmoid loss reach 49 here."""
    size = max(1.0, *(float(each.abs().max()) for each in wanted))
    for value, alone in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, alone, rtol=0, atol=1e-6 * size)


def one_rank(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    found = {}
    for kind in PLAIN:
        for block in BLOCKS:
            model = towers()
            rows = slice(rank * ROWS // world_size, (rank + 1) * ROWS // world_size)
            loss, *right = ours(kind, embed(model, *(each[rows] for each in inputs())), block)
            loss.backward()
            found[f"{kind} {block}"] = values = [loss.detach(), *right, *gradients(model)]
            for value in values:
                dist.all_reduce(value)
                value /= world_size  # DeepSpeed's mean over ranks
    if rank == 0:
        torch.save(found, os.path.join(folder, "result.pt"))
    dist.destroy_process_group()


def test_several_ranks_give_loss_accuracy_and_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    on_ranks(3, one_rank, 3, str(tmp_path))
    for name, together in torch.load(tmp_path / "result.pt", weights_only=True).items():
        assert_equal(together, wanted(name.split()[0]))


@pytest.mark.parametrize("kind", list(PLAIN))
@pytest.mark.parametrize("block", BLOCKS)
def test_one_process_needs_no_process_group(kind: str, block: int) -> None:
    model = towers()
    loss, *right = ours(kind, embed(model, *inputs()), block)
    (3 * loss).backward()  # a gradient from above other than 1
    assert_equal([loss.detach(), *right, *(gradient / 3 for gradient in gradients(model))], wanted(kind))


@pytest.mark.parametrize("kind", list(PLAIN))
def test_logits_are_float32_whatever_the_precision_of_the_embeddings(kind: str) -> None:
    embedded = embed(towers(), *inputs())
    short = tuple(each.bfloat16() for each in embedded[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, *_ = ours(kind, (*short, *embedded[2:]), 40)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, PLAIN[kind](short[0].float(), short[1].float(), *embedded[2:]))


def test_a_sure_and_right_model_has_a_loss_and_gradients_that_are_small_and_not_noise() -> None:
    """At scale 100 a pair's own logit is 100 above the others; sums that cancel would leave 1e-6 in place of 1e-40."""
    rows = torch.eye(8)
    for kind in PLAIN:
        scale, bias = torch.tensor([100.0], requires_grad=True), torch.tensor([-50.0])
        loss, right, back = ours(kind, (rows, rows, scale, bias), 24)
        loss.backward()
        assert float(loss.detach()) < 1e-12
        assert abs(float(scale.grad)) < 1e-12  # type: ignore[arg-type]
        assert float(right) == float(back) == 1.0


def test_no_more_logits_stand_in_memory_than_a_block() -> None:
    """Rows 512 x columns 512 in blocks of 4,096: the largest tensor that autograd keeps or a product makes."""
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for each in out if isinstance(out, tuple) else (out,):
                if isinstance(each, Tensor):
                    largest = max(largest, each.numel())
            return out

    rows = [functional.normalize(torch.randn(512, 4)).requires_grad_() for _ in range(2)]
    for kind in PLAIN:
        with Watch():
            loss, *_ = ours(kind, (*rows, torch.tensor([9.0]), torch.tensor([-3.0])), 4096)
            loss.backward()
    assert largest == 4096


@pytest.mark.parametrize("kind", list(PLAIN))
def test_equals_share_a_hit_and_a_model_that_says_the_same_of_all_finds_one_in_all(kind: str) -> None:
    """`>=` would call it perfect. Rounding decides nothing: the copies come from products of their own."""
    scale, bias = torch.tensor([100.0]), torch.tensor([-10.0])
    same = functional.normalize(torch.ones(12, 512), dim=1)
    noisy = same * (1 + 1e-7 * torch.randn(12, 1, generator=torch.Generator().manual_seed(0)))
    for rows in (same, noisy):
        for block in BLOCKS:
            _, right, back = ours(kind, (rows, rows, scale, bias), block)
            assert float(right) == float(back) == pytest.approx(1 / 12)
    pictures = torch.eye(4)
    texts = pictures[[0, 0, 2, 1]]  # 0 and 1 share a caption, 3 has that of 1, and nobody speaks of picture 3
    _, right, back = ours(kind, (pictures, texts, scale, bias), 1)
    assert float(right) == pytest.approx((1 / 2 + 0 + 1 + 1 / 4) / 4)
    assert float(back) == pytest.approx((1 + 0 + 1 + 0) / 4)
