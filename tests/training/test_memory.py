"""Recomputed blocks, bytes of activations beside the closed form, and what is said where memory or numbers run out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import DataError
from training.config import TrainConfig
from training.data.batch import Batch
from training.engine.diagnosis import diverged, first_bad_tensor
from training.engine.memory_estimate import activations, estimate
from training.engine.out_of_memory import explained
from training.engine.ranks import Ranks
from training.engine.recompute import blocks_of, recompute_blocks
from training.objectives.objective import make_objective
from training.spec import REGISTRY, build

ROWS = 4
ALONE = Ranks(0, 1, torch.device("cpu"), owns_group=False)


def config(model: str, **values: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {"model": model, "global_batch_size": ROWS, "vocabulary_size": 300, "context_length": 12, **values}
    )


def made(name: str) -> tuple[Any, tuple[Tensor, ...]]:
    """A model and a batch for it; texts fill the context, so that nothing is trimmed."""
    torch.manual_seed(0)
    spec = REGISTRY[name].with_text(vocabulary=300, context=12)
    pixels = torch.randint(0, 256, (ROWS, 3, spec.image_size, spec.image_size), dtype=torch.uint8)
    tokens = torch.randint(1, 290, (ROWS, 12))
    tokens[:, -1] = 299
    return build(spec).train(), (pixels, tokens) if spec.family in ("clip", "captioner") else (pixels,)


def total(outputs: Any) -> Tensor:
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum((each.float().square().sum() for each in outputs if each.is_floating_point()), torch.zeros(()))


def kept_bytes(model: nn.Module, rows: tuple[Tensor, ...]) -> int:
    """Of all tensors that autograd keeps for the backward pass, each storage once, parameters and buffers apart."""
    own = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(*rows)
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del outputs
    return found


@pytest.mark.parametrize(
    ("name", "within"), [("clip-tiny", 0.2), ("vit-tiny-8", 0.2), ("igpt-tiny", 0.25), ("clip-tiny-rn", 0.35)]
)
def test_activations_are_what_the_closed_form_says(name: str, within: float) -> None:
    model, rows = made(name)
    spec, settings = model.spec, config(name)
    said = activations(spec, settings, 1, text_tokens=12)
    found = kept_bytes(model, rows)
    assert said == pytest.approx(found, rel=within), (said, found)
    halved = activations(
        spec, settings.model_copy(update={"memory": settings.memory.model_copy(update={"chunks": 2})}), 1, 12
    )
    assert 0.45 < halved / said < 0.6
    recompute_blocks(model)
    recomputed = settings.memory.model_copy(update={"activation_checkpointing": True})
    less = activations(spec, settings.model_copy(update={"memory": recomputed}), 1, 12)
    assert kept_bytes(model, rows) < 0.8 * found
    assert less < 0.8 * said


@pytest.mark.parametrize("name", ["clip-tiny", "igpt-tiny", "clip-tiny-rn"])
def test_recomputed_blocks_give_the_same_gradients_and_statistics(name: str) -> None:
    (plain, rows), (other, _) = made(name), made(name)
    names = list(other.state_dict())
    assert recompute_blocks(other) == len(blocks_of(plain)) > 1
    assert list(other.state_dict()) == names
    for model in (plain, other):
        total(model(*rows)).backward()
    for (name, wanted), found in zip(plain.named_parameters(), other.parameters(), strict=True):
        if wanted.grad is not None:
            torch.testing.assert_close(found.grad, wanted.grad, msg=name)
    for (name, wanted_buffer), found_buffer in zip(plain.named_buffers(), other.buffers(), strict=True):
        assert torch.equal(found_buffer, wanted_buffer), name


@pytest.mark.parametrize(("name", "within"), [("captioner-tiny", 0.1), ("words-tiny", 0.1)])
def test_models_that_answer_in_words_keep_their_vocabulary_for_each(name: str, within: float) -> None:
    """CLIP's vocabulary is most of what small ones keep: a plan without it was six times too low."""
    spec = REGISTRY[name].with_text(vocabulary=49_408, context=12)
    settings = config(name, vocabulary_size=49_408)
    pixels = torch.randint(0, 256, (ROWS, 3, spec.image_size, spec.image_size), dtype=torch.uint8)
    tokens = torch.randint(1, 49_000, (ROWS, 12))
    tokens[:, -1] = 49_407
    model, learned = build(spec).train(), make_objective(settings, spec)

    class Learning(nn.Module):
        def forward(self) -> Tensor:
            batch = Batch(pixels, tokens)
            return learned.loss(model(*learned.inputs(batch)), batch)[0]

    whole = Learning()
    whole.add_module("model", model)
    assert activations(spec, settings, 1, text_tokens=12) == pytest.approx(kept_bytes(whole, ()), rel=within)


def test_larger_stages_and_more_ranks_need_less() -> None:
    spec = REGISTRY["clip-vit-l-14"]
    stages = [
        estimate(spec, TrainConfig(model=spec.name, workers=8, global_batch_size=1024, zero_stage=stage), 8).device
        for stage in (0, 1, 2, 3)
    ]
    assert stages[0] > stages[1] > stages[2] > stages[3]
    numbers = spec.parameters()
    assert estimate(spec, TrainConfig(model=spec.name, zero_stage=0), 1).states == 16 * numbers
    offloaded = TrainConfig.model_validate(
        {"model": spec.name, "workers": 8, "zero_stage": 2, "memory": {"offload_optimizer": "cpu"}}
    )
    assert estimate(spec, offloaded, 8).host == pytest.approx(24 * numbers / 8)


def test_memory_that_runs_out_is_one_line_that_says_what_to_change() -> None:
    spec, settings = REGISTRY["clip-tiny"], config("clip-tiny", global_batch_size=64)
    with pytest.raises(DataError) as caught, explained(settings, spec, 1, torch.device("cpu")):
        torch.empty(1 << 60, dtype=torch.uint8)
    text = str(caught.value)
    assert "out of memory" in text
    assert "64 samples per rank" in text
    assert "train.memory.chunks 2 in place of 1" in text
    assert "\n" not in text
    with pytest.raises(DataError, match="clip-tiny needs about"), explained(settings, spec, 2, torch.device("cpu")):
        raise MemoryError
    with pytest.raises(RuntimeError, match="something else"), explained(settings, spec, 1, torch.device("cpu")):
        raise RuntimeError("something else")


@pytest.mark.parametrize("where", ["parameter", "activation", "gradient"])
def test_the_first_tensor_that_is_not_finite_is_named(where: str) -> None:
    model, rows = made("clip-tiny")
    block = model.text.transformer.blocks[1]
    if where == "parameter":
        with torch.no_grad():
            block.c_fc.weight[0, 0] = float("nan")
    elif where == "activation":
        block.c_fc.register_forward_hook(lambda module, inputs, output: output * float("inf"))
    else:
        block.c_fc.register_forward_hook(lambda module, inputs, output: _bad_gradient(output))

    def again() -> None:
        total(model(*rows)).backward()

    bad = first_bad_tensor(model, again, ALONE)
    assert bad.startswith({"parameter": "parameter ", "activation": "activation ", "gradient": "gradient of "}[where])
    assert "text.transformer.blocks.1.c_fc" in bad
    said = str(diverged(7, float("nan"), 0.0, bad, config("clip-tiny")))
    assert said.startswith("step 7: loss nan")
    assert bad in said


def _bad_gradient(output: Tensor) -> Tensor:
    output.register_hook(lambda gradient: gradient * float("nan"))
    return output
