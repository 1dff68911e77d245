"""A linear layer whose matrix products run in oneDNN on CPUs.

torch sends float32 products on CPUs to Intel's MKL, which leaves AVX-512 unused on AMD: 104 GFLOP/s per core where oneDNN,
in the same torch build, does 225 (EPYC, torch 2.13, 1088 x 128 by 128 x 512). Same sums, other order of addition. On GPUs,
under autocast, under torch.compile (which takes oneDNN by itself), and where torch has no oneDNN, this is torch's own linear layer.
"""

from typing import Any

import torch
from torch import Tensor, nn

# What torch.compile emits for a linear layer on CPUs.
_product = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def _times_transposed(left_NK: Tensor, right_MK: Tensor, bias_M: Tensor | None = None) -> Tensor:
    """left @ right.T + bias, (N, M)."""
    out: Tensor = _product(left_NK, right_MK, bias_M, "none", [], "")  # type: ignore[misc]  # asked for in Linear
    return out


class _OneDNNLinear(torch.autograd.Function):
    """x W^T + b; gradients g W, g^T x and the sum of g over rows."""

    @staticmethod
    def forward(ctx: Any, x_NK: Tensor, weight_MK: Tensor, bias_M: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_NK, weight_MK)
        return _times_transposed(x_NK, weight_MK, bias_M)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_NK, weight_MK = ctx.saved_tensors
        g_NM = gradients[0].contiguous()
        # oneDNN reads the transposed views as they are; copying them first costs more than the product.
        x_gradient = _times_transposed(g_NM, weight_MK.T) if ctx.needs_input_grad[0] else None
        weight_gradient = _times_transposed(g_NM.T, x_NK.T) if ctx.needs_input_grad[1] else None  # LoRA's stand still
        return x_gradient, weight_gradient, g_NM.sum(0) if ctx.needs_input_grad[2] else None


class Linear(nn.Linear):
    """torch's linear layer: same parameters, same initial values, same results to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        ours = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if _product is None or not ours or x.numel() == 0 or torch.compiler.is_compiling():
            return super().forward(x)
        rows = x.reshape(-1, self.in_features).contiguous()
        out: Tensor = _OneDNNLinear.apply(rows, self.weight, self.bias)
        return out.view(*x.shape[:-1], self.out_features)
