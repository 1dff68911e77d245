"""Engines of every form that a state can be saved under and resumed in, and some steps of training for them.

Used by tests/training/test_elastic.py and infra/benchmarks/elastic_resume.py.
"""

from typing import Any

import torch

from training.config import TrainConfig
from training.engine.engine import Engine
from training.engine.ranks import Ranks
from training.objectives.contrastive import contrastive_loss
from training.spec import REGISTRY, build

BATCH = 8
STAGES: dict[str, dict[str, Any]] = {
    "0": {"zero_stage": 0},
    "1": {"zero_stage": 1},
    "2": {"zero_stage": 2},
    "3": {"zero_stage": 3},
    "2 offload": {"zero_stage": 2, "memory": {"offload_optimizer": "cpu"}},
    "3 offload": {"zero_stage": 3, "memory": {"offload_optimizer": "cpu", "offload_parameters": "cpu"}},
}
FORMS: dict[str, dict[str, Any]] = STAGES | {
    "0 sgd": {"zero_stage": 0, "optimizer": {"kind": "sgd", "ema_decay": 0.9}},
    "3 sgd": {"zero_stage": 3, "optimizer": {"kind": "sgd", "ema_decay": 0.9}},
    "0 adafactor": {"zero_stage": 0, "optimizer": {"kind": "adafactor", "ema_decay": 0.9}},
    "0 frozen": {"zero_stage": 0, "freeze": ["image"]},
    "3 frozen": {"zero_stage": 3, "freeze": ["image"]},
}


def config(form: str, model: str = "clip-tiny") -> TrainConfig:
    wanted = FORMS[form]
    # Adam divides by sqrt(v) + epsilon: a small one would turn rounding into whole steps.
    optimizer = {"epsilon": 1e-3, "ema_decay": 0.9, "layer_decay": 0.8} | wanted.get("optimizer", {})
    base = {"model": model, "global_batch_size": BATCH, "steps": 99, "warmup_steps": 0, "learning_rate": 1e-3}
    return TrainConfig.model_validate(base | wanted | {"optimizer": optimizer})


def fresh_engine(form: str, ranks: Ranks, model: str = "clip-tiny") -> Engine:
    """`clip-tiny` with a small vocabulary, other models as they are; the same weights each time."""
    torch.manual_seed(0)
    spec = REGISTRY[model]
    spec = spec.with_text(vocabulary=300, context=12) if model == "clip-tiny" else spec
    return Engine(build(spec), config(form, model), ranks)


def train(engine: Engine, ranks: Ranks, first: int, steps: int) -> list[float]:
    """Losses of the global batch in steps `first` to `first + steps - 1`, whose pictures and texts follow from their number."""
    losses = []
    side = engine.model.spec.image_size
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        pixels = torch.randint(0, 256, (BATCH, 3, side, side), generator=generator, dtype=torch.uint8)
        tokens = torch.randint(1, 290, (BATCH, 12), generator=generator)
        tokens[:, 9] = 299
        rows = BATCH // ranks.world_size
        mine = slice(ranks.rank * rows, (ranks.rank + 1) * rows)
        loss = contrastive_loss(*engine.forward(pixels[mine], tokens[mine])[:3])[0]
        engine.backward(loss)
        losses.append(ranks.mean(loss))
        engine.update(1e-3 / (step + 1))
    return losses
