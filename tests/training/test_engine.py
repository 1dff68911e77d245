"""DeepSpeed under ZeRO 0, 1, 2 and 3 on two gloo ranks against a plain loop over the whole batch in one process."""

import os
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import distributed as dist

from training.config import TrainConfig
from training.data.batch import Batch
from training.engine import Engine
from training.models.clip import CLIP, MAX_LOGIT_SCALE
from training.objectives.contrastive import contrastive_loss
from training.objectives.objective import make_objective
from training.optim.groups import parameter_groups
from training.ranks import Ranks
from training.spec import REGISTRY, build
from training.step import compute

STEPS = 8
BATCH = 8


def config(stage: int, clip: float) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "model": "clip-tiny",
            "global_batch_size": BATCH,
            "steps": STEPS,
            "warmup_steps": 0,
            "zero_stage": stage,
            "max_gradient_norm": clip,
            "learning_rate": 1e-3,
            "optimizer": {
                "epsilon": 1e-3
            },  # Adam divides by sqrt(v) + epsilon: a small one would turn rounding into whole steps
        }
    )


def fresh_model() -> CLIP:
    torch.manual_seed(0)
    return build(REGISTRY["clip-tiny"].with_text(vocabulary=300, context=12))


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    pixels = torch.randint(0, 256, (BATCH, 3, 32, 32), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, 290, (BATCH, 12), generator=generator)
    tokens[:, 9] = 299
    return pixels, tokens


def plain_loop(clip: float) -> tuple[list[float], list[float], CLIP]:
    """What every engine must equal: losses, gradient norms and the trained model."""
    model = fresh_model()
    settings = config(0, clip)
    betas = (settings.optimizer.beta1, settings.optimizer.beta2)
    optimizer = torch.optim.AdamW(
        parameter_groups(model, settings), lr=1e-3, betas=betas, eps=settings.optimizer.epsilon
    )
    losses, norms = [], []
    for step in range(STEPS):
        loss, *_ = contrastive_loss(*model(*batch(step)))
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip or float("inf"))))
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, norms, model


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the life of this process
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    ranks = Ranks(rank, 2, torch.device("cpu"), owns_group=True)
    results = {}
    for stage in range(4):
        for clip in (0.0, 0.5):
            model = fresh_model()
            engine = Engine(model, config(stage, clip), ranks)
            losses, norms = [], []
            objective, keys = make_objective(config(stage, clip), model.spec), torch.zeros(BATCH // 2, dtype=torch.long)
            for step in range(STEPS):
                pixels, tokens = batch(step)
                mine = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
                losses.append(ranks.mean(compute(engine, objective, Batch(pixels[mine], tokens[mine]), keys).loss))
                norms.append(engine.update(1e-3))
            results[f"{stage} {clip}"] = (losses, norms, engine.weights())
            engine.close()
        results[f"held {stage}"] = held_scale(stage, ranks)
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


def held_scale(stage: int, ranks: Ranks) -> float:
    """logit_scale after a step from just below its limit."""
    model = fresh_model()
    with torch.no_grad():
        model.logit_scale.fill_(MAX_LOGIT_SCALE - 1e-4)
        # Pairs that already fit well want a higher temperature: their rate pushes the parameter over the limit.
    engine = Engine(model, config(stage, 0.0), ranks)
    for step in range(3):
        pixels, tokens = batch(step)
        mine = slice(ranks.rank * BATCH // 2, (ranks.rank + 1) * BATCH // 2)
        image, text, scale = engine._engine(pixels[mine], tokens[mine])
        engine._engine.backward(-scale.sum() * 10 + 0 * (image.sum() + text.sum()))
        engine.update(0.1)
    weights = engine.weights()
    engine.close()
    return float(weights["logit_scale"]) if ranks.is_first else 0.0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[float], list[float], dict[str, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("engine")
    torch.multiprocessing.spawn(one_rank, args=(str(folder),), nprocs=2)
    loaded: dict[str, tuple[list[float], list[float], dict[str, Tensor]]] = torch.load(folder / "results.pt")
    return loaded


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_zero_stage_trains_like_a_plain_loop(
    results: dict[str, tuple[list[float], list[float], dict[str, Tensor]]], stage: int, clip: float
) -> None:
    losses, norms, weights = results[f"{stage} {clip}"]
    wanted_losses, wanted_norms, model = plain_loop(clip)
    assert losses == pytest.approx(wanted_losses, abs=1e-5)
    assert norms == pytest.approx(wanted_norms, rel=1e-4)
    assert list(weights) == list(dict(model.named_parameters()))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(weights[name], parameter.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_logit_scale_is_held_at_its_limit(results: dict[str, float], stage: int) -> None:
    assert results[f"held {stage}"] == pytest.approx(MAX_LOGIT_SCALE, abs=1e-6)
