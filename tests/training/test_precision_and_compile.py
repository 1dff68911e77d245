"""What an engine does on one rank beside plain float32: bfloat16, compiled blocks; and what it says where NVMe cannot be used."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from engine_cells import config, engine_loop, fresh_model, plain_loop

from pipeline.errors import ConfigError
from training.engine import engine
from training.engine.engine import Engine
from training.engine.ranks import join

STEPS = 3


def on_one_rank(changes: Mapping[str, Any]) -> dict[str, Any]:
    return engine_loop(changes, STEPS, join())


@pytest.mark.parametrize("stage", [0, 2])
def test_bfloat16_learns_what_float32_does_but_for_the_rounding_of_products(stage: int) -> None:
    found, wanted = on_one_rank({"zero_stage": stage, "precision": "bfloat16"}), plain_loop({"zero_stage": 0}, STEPS)
    assert found["losses"] == pytest.approx(wanted["losses"], abs=0.02)
    assert found["losses"] != wanted["losses"]
    assert found["norms"] == pytest.approx(wanted["norms"], rel=0.1)
    assert all(weight.dtype == torch.float32 for weight in found["weights"].values())


def test_compiled_blocks_learn_the_same() -> None:
    found = on_one_rank({"zero_stage": 2, "memory": {"compile": True}})
    wanted = plain_loop({"zero_stage": 0}, STEPS)
    assert found["losses"] == pytest.approx(wanted["losses"], abs=1e-5)
    for name, weight in wanted["weights"].items():
        torch.testing.assert_close(found["weights"][name], weight, rtol=0, atol=1e-5)


def test_nvme_without_async_io_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoBuilder:
        def is_compatible(self, verbose: bool) -> bool:
            return False

    real = engine._import_deepspeed

    def without(*given: Any) -> Any:
        found = real(*given)
        monkeypatch.setattr(found.accelerator.get_accelerator(), "create_op_builder", lambda name: NoBuilder())
        return found

    monkeypatch.setattr(engine, "_import_deepspeed", without)
    memory = {"offload_optimizer": "nvme", "nvme_path": "/nowhere"}
    with pytest.raises(ConfigError, match="needs DeepSpeed's async_io, which cannot be built on this machine: install"):
        Engine(fresh_model(), config({"zero_stage": 3, "memory": memory}), join())
