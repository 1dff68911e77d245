"""What an engine does on one rank beside plain float32: bfloat16, compiled blocks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from engine_cells import config, engine_loop, plain_loop
from torch.nn import functional

from training.engine.engine import Engine
from training.engine.ranks import join
from training.spec import build, get_spec
from training.specs.vit import tower

STEPS = 3


def on_one_rank(changes: Mapping[str, Any]) -> dict[str, Any]:
    return engine_loop(changes, STEPS, join())


@pytest.mark.parametrize("stage", [0, 2])
def test_bfloat16_learns_what_float32_does_but_for_the_rounding_of_products(stage: int) -> None:
    found, wanted = on_one_rank({"zero_stage": stage, "precision": "bfloat16"}), plain_loop({"zero_stage": 0}, STEPS)
    # Cosines are rounded to 8 bits and multiplied by a logit scale of 14: a loss may be off by 14 / 2^8.
    assert found["losses"] == pytest.approx(wanted["losses"], abs=0.06)
    assert found["losses"] != wanted["losses"]
    assert found["norms"] == pytest.approx(wanted["norms"], rel=0.1)
    assert all(weight.dtype == torch.float32 for weight in found["weights"].values())


def test_compiled_blocks_learn_the_same() -> None:
    """Blocks whose linear layers are oneDNN's otherwise (training/models/linear.py)."""
    found = {}
    for compiled in (False, True):
        torch.manual_seed(0)
        model = build(replace(get_spec("vit-tiny-8"), image=tower(16, 8, 32, 2, 2)))
        with torch.no_grad():
            model.head.weight.normal_(std=0.1)  # type: ignore[union-attr,operator]  # zeros let no gradient through at first
        settings = {"model": "vit-tiny-8", "memory": {"compile": compiled}}
        ranks = join()
        engine = Engine(model, config({"zero_stage": 2, **settings}), ranks)
        norms = []
        for step in range(STEPS):
            pixels = torch.randint(
                0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(step), dtype=torch.uint8
            )
            engine.backward(functional.cross_entropy(engine.forward(pixels), torch.arange(4)))
            norms.append(engine.update(1e-3))
        found[compiled] = norms, engine.weights()
        engine.close()
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-4)
    for name, weight in found[False][1].items():
        torch.testing.assert_close(found[True][1][name], weight, rtol=0, atol=1e-5)
