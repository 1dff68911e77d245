"""The contrastive loss of two and four gloo processes against the plain loss of the whole batch in one."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional

from training.objectives.contrastive import contrastive_loss


def whole_batch_loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Figure 3 of the paper, word for word."""
    logits = scale * image @ text.T
    labels = torch.arange(len(image))
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def towers(seed: int) -> tuple[torch.nn.Linear, torch.nn.Linear, Tensor]:
    torch.manual_seed(seed)
    return torch.nn.Linear(12, 8), torch.nn.Linear(10, 8), torch.nn.Parameter(torch.tensor([2.6]))


def embed(model: Any, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return functional.normalize(model[0](image)), functional.normalize(model[1](text)), model[2].exp()


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(16, 12, generator=generator), torch.randn(16, 10, generator=generator)


def one_rank(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    model = towers(0)
    image, text = inputs()
    rows = slice(rank * 16 // world_size, (rank + 1) * 16 // world_size)
    loss = contrastive_loss(*embed(model, image[rows], text[rows]))
    loss.backward()
    gradients = [p.grad for p in (*model[0].parameters(), *model[1].parameters(), model[2])]
    for gradient in (*gradients, loss.data):
        dist.all_reduce(gradient)
        gradient /= world_size  # DeepSpeed's mean over ranks
    if rank == 0:
        torch.save([loss.data, *gradients], os.path.join(folder, "result.pt"))
    dist.destroy_process_group()


@pytest.mark.parametrize("world_size", [2, 4])
def test_gradients_of_several_ranks_equal_those_of_the_whole_batch(world_size: int, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_rank, args=(world_size, str(tmp_path)), nprocs=world_size)
    together = torch.load(tmp_path / "result.pt", weights_only=True)
    model = towers(0)
    loss = whole_batch_loss(*embed(model, *inputs()))
    loss.backward()
    alone = [loss.detach(), *(p.grad for p in (*model[0].parameters(), *model[1].parameters(), model[2]))]
    for ours, wanted in zip(together, alone, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)


def test_one_process_needs_no_process_group() -> None:
    model = towers(1)
    embedded = embed(model, *inputs())
    torch.testing.assert_close(contrastive_loss(*embedded), whole_batch_loss(*embedded))


def test_logits_are_float32_whatever_the_precision_of_the_embeddings() -> None:
    image, text, scale = embed(towers(2), *inputs())
    loss = contrastive_loss(image.bfloat16(), text.bfloat16(), scale)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, whole_batch_loss(image.bfloat16().float(), text.bfloat16().float(), scale))
