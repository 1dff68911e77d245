"""The oneDNN linear layer against torch's own."""

import pytest
import torch
from torch.nn import functional

from training.models import linear
from training.models.linear import Linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 12), (3, 5, 12), (0, 12), (1, 1, 12)])
def test_outputs_and_gradients_equal_torch_s(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = Linear(12, 20, bias=bias)
    x, g = torch.randn(shape, requires_grad=True), torch.randn(*shape[:-1], 20)
    ours = torch.autograd.grad(layer(x), [x, *layer.parameters()], g)
    twin = torch.autograd.grad(functional.linear(x, layer.weight, layer.bias), [x, *layer.parameters()], g)
    torch.testing.assert_close(layer(x), functional.linear(x, layer.weight, layer.bias))
    for one, other in zip(ours, twin, strict=True):
        torch.testing.assert_close(one, other)


def test_inputs_that_are_no_block_of_rows_are_taken_too() -> None:
    torch.manual_seed(0)
    layer = Linear(12, 4)
    x = torch.randn(12, 6, 5).permute(1, 2, 0)
    torch.testing.assert_close(layer(x), functional.linear(x, layer.weight, layer.bias))


def test_no_product_is_made_for_weights_that_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """LoRA's step would take a third longer."""
    made: list[tuple[int, ...]] = []
    product = linear._times_transposed
    monkeypatch.setattr(linear, "_times_transposed", lambda *given: made.append(given[0].shape) or product(*given))
    layer = Linear(12, 20).requires_grad_(False)
    x, twin = (torch.ones(7, 12, requires_grad=True) for _ in range(2))
    layer(x).sum().backward()
    functional.linear(twin, layer.weight, layer.bias).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)
    assert made == [(7, 12), (7, 20)]  # forward, and the gradient in x
    assert layer.weight.grad is None


def test_autocast_is_obeyed() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Linear(12, 4)(torch.randn(3, 12)).dtype == torch.bfloat16
