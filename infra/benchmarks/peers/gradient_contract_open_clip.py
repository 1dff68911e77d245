"""The peer of gradient_contract: open_clip's own `train_one_epoch` and losses, one step on a tiny CLIP, under each of its ways
to gather, ranks (gloo, DDP) and --accum-freq; its gradient against that of its own model on the whole batch in one process.

With patch dropout the whole batch is given the very draws that the step made; where the step draws twice (a pass that fills the
cache, a pass that is differentiated), the nearer of the two counts.
"""

import json
import os
import sys
import tempfile
from types import SimpleNamespace

import torch
from torch import distributed as dist

_operators = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

ROWS = 16
FLAGS = {
    "no flags": (False, False),
    "--local-loss": (True, False),
    "--gather-with-grad": (False, True),
    "--local-loss --gather-with-grad": (True, True),
}


def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(ROWS, 3, 16, 16, generator=generator)
    texts = torch.zeros(ROWS, 10, dtype=torch.long)
    for row in range(ROWS):
        words = 1 + row * 5 % 8
        texts[row, :words] = torch.randint(1, 58, (words,), generator=generator)
        texts[row, words] = 59
    return images, texts


def model(loss, dropout):
    import open_clip

    torch.manual_seed(0)
    start = {"init_logit_bias": -10.0, "init_logit_scale": 2.302585} if loss == "sigmoid" else {}
    vision = {"image_size": 16, "patch_size": 4, "width": 32, "layers": 2, "head_width": 16, "patch_dropout": dropout}
    text = {"context_length": 10, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2}
    return open_clip.model.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text, output_dict=True, **start)


def loss_of(loss, flags, rank, ranks):
    from open_clip.loss import ClipLoss, SigLipLoss

    if loss == "sigmoid":
        return SigLipLoss(rank=rank, world_size=ranks)
    local, gathered = FLAGS[flags]
    return ClipLoss(local_loss=local, gather_with_grad=gathered, rank=rank, world_size=ranks)


class Draws:
    """torch.randn that remembers what it gave, or gives what it is told to."""

    def __init__(self, given=None):
        self.made, self.given, self.plain = [], given, torch.randn

    def __call__(self, *sizes, **options):
        drawn = self.given if self.given is not None else self.plain(*sizes, **options)
        self.made.append(drawn)
        return drawn

    def __enter__(self):
        torch.randn = self
        return self

    def __exit__(self, *_):
        torch.randn = self.plain


def step(cell, rank, ranks):
    """(gradients by name, draws) of one step of train_one_epoch on this rank."""
    from open_clip_train.train import train_one_epoch

    images, texts = data()
    mine = slice(rank * ROWS // ranks, (rank + 1) * ROWS // ranks)
    parts = list(zip(images[mine].chunk(cell["chunks"]), texts[mine].chunk(cell["chunks"]), strict=True))

    class Loader(list):
        num_batches, num_samples = len(parts), ROWS

    trained = model(cell["loss"], cell["dropout"])
    inner = trained
    if ranks > 1:
        trained = torch.nn.parallel.DistributedDataParallel(trained)
    arguments = SimpleNamespace(
        device="cpu", precision="fp32", distill=False, accum_freq=cell["chunks"], skip_scheduler=True, horovod=False,
        grad_clip_norm=None, rank=1, local_rank=1, world_size=ranks, log_every_n_steps=100, log_local=False, wandb=False,
        batch_size=len(parts[0][0]),
    )  # fmt: skip
    source = SimpleNamespace(dataloader=Loader(parts), set_epoch=lambda epoch: None)
    torch.manual_seed(100 + rank)
    with Draws() as draws:
        train_one_epoch(
            trained, {"train": source}, loss_of(cell["loss"], cell["flags"], rank, ranks), 0,
            torch.optim.SGD(trained.parameters(), lr=1e-3), None, None, None, arguments,
        )  # fmt: skip
    return {name: p.grad.clone() for name, p in inner.named_parameters() if p.grad is not None}, draws.made


def worker(rank, ranks, folder, cells):
    torch.set_num_threads(1)
    os.dup2(2, 1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", ranks), rank=rank, world_size=ranks)
    torch.save([step(cell, rank, ranks) for cell in cells], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def whole(cell, drawn):
    """The gradient of the whole batch in one process, with these draws."""
    images, texts = data()
    alone = model(cell["loss"], cell["dropout"]).train()
    with Draws(given=drawn):
        out = alone(images, texts)
        loss_of(cell["loss"], "no flags", 0, 1)(**out).backward()
    return {name: p.grad for name, p in alone.named_parameters() if p.grad is not None}


def compared(cell, ranks, results):
    """Relative error of the whole gradient, and logit_scale's divided by what it should be."""
    passes = [None]
    if cell["dropout"]:
        of_ranks = [made for _, made in results]
        chunks = cell["chunks"]
        passes = [
            torch.cat([torch.cat(made[first : first + chunks]) for made in of_ranks])
            for first in range(0, len(of_ranks[0]), chunks)
        ]
    found = results[0][0]
    answers = []
    for drawn in passes:
        wanted = whole(cell, drawn)
        apart = sum(float((found[name] - value).double().square().sum()) for name, value in wanted.items())
        size = sum(float(value.double().square().sum()) for value in wanted.values())
        answers.append(((apart / size) ** 0.5, float(found["logit_scale"] / wanted["logit_scale"])))
    return min(answers)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    for line in sys.stdin:
        ranks = int(line)
        if ranks == 1:
            results = [[step(cell, 0, 1)] for cell in cells]
        else:
            with tempfile.TemporaryDirectory() as folder:
                torch.multiprocessing.spawn(worker, args=(ranks, folder, cells), nprocs=ranks)
                of_ranks = [torch.load(f"{folder}/{rank}.pt", weights_only=True) for rank in range(ranks)]
            results = list(zip(*of_ranks, strict=True))
        answer = [compared(cell, ranks, result) for cell, result in zip(cells, results, strict=True)]
        print(json.dumps({"found": answer}), file=replies, flush=True)


if __name__ == "__main__":
    main()
