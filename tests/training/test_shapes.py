"""Models of shapes alone: what is loaded into them, with the constants made again, is the model; no compiler is imported."""

import subprocess
import sys

import pytest
import torch

from training.models.shapes import shapes_alone
from training.spec import build, get_spec


@pytest.mark.parametrize(
    "name", ["clip-tiny", "clip-tiny-rn", "vit-tiny-8-map", "igpt-tiny", "captioner-tiny", "words-tiny"]
)
def test_a_model_loaded_into_shapes_is_the_model_built(name: str) -> None:
    built = build(get_spec(name)).eval()
    with shapes_alone():
        loaded = build(get_spec(name))
    assert all(tensor.is_meta for tensor in loaded.state_dict().values())
    loaded.load_state_dict(built.state_dict(), assign=True)
    loaded.reset_constants()
    wanted, found = dict(built.named_buffers()), dict(loaded.named_buffers())
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[each], found[each]) for each in wanted)
    assert not any(tensor.is_meta for tensor in loaded.parameters())
    assert build(get_spec(name)).state_dict().keys() == built.state_dict().keys()  # and later models have values again


def test_pixel_statistics_are_the_products_of_float32() -> None:
    tower = build(get_spec("clip-tiny")).visual
    assert torch.equal(tower.pixel_mean.flatten(), torch.tensor(tower.tower.pixel_mean) * 255)
    assert torch.equal(tower.pixel_std.flatten(), torch.tensor(tower.tower.pixel_std) * 255)


def test_building_shapes_imports_no_compiler() -> None:
    code = """
import sys
from training.models.shapes import shapes_alone
from training.spec import build, get_spec
with shapes_alone():
    build(get_spec("clip-vit-b-32"))
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
