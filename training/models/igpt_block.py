"""iGPT's transformer block: gain-only norms, no biases (openai/image-gpt, src/model.py).

B = pictures, T = places, W = width, H = heads, w = W / H.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.linear import Linear

EPSILON = 1e-5
STEEPNESS = 1.702


class _Normed(torch.autograd.Function):
    """g x / sqrt(mean(x^2) + epsilon) over the last dimension; keeps x and one number per row for the way back."""

    @staticmethod
    def forward(ctx: Any, x_NW: Tensor, gain_W: Tensor) -> Tensor:
        size_N1 = torch.linalg.vector_norm(x_NW, dim=-1, keepdim=True)
        inverse_N1 = (size_N1.square_().div_(x_NW.shape[-1]).add_(EPSILON)).rsqrt_()
        ctx.save_for_backward(x_NW, gain_W, inverse_N1)
        return (x_NW * inverse_N1).mul_(gain_W)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x_NW, gain_W, inverse_N1 = ctx.saved_tensors
        g_NW = gradients[0]
        normed_NW = x_NW * inverse_N1
        gain = torch.linalg.vecdot(g_NW.flatten(0, -2), normed_NW.flatten(0, -2), dim=0)
        towards_NW = g_NW * gain_W
        along_N1 = torch.linalg.vecdot(towards_NW, normed_NW).unsqueeze(-1).div_(x_NW.shape[-1])
        return towards_NW.addcmul_(normed_NW, along_N1, value=-1).mul_(inverse_N1), gain


class Norm(nn.Module):
    """The release's "layer norm": no mean is subtracted and nothing is added. In float32 whatever the precision around."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_BTW: Tensor, times: float = 1.0) -> Tensor:
        """Of x's shape and type, times `times`."""
        gain_W = self.weight if times == 1.0 else self.weight * times
        with torch.autocast(x_BTW.device.type, enabled=False):
            out: Tensor = _Normed.apply(x_BTW.float(), gain_W.float())
        return out.to(x_BTW.dtype)


class Attention(nn.Module):
    """Multi-head self-attention, causal or over all places; torch divides by sqrt(w), whole number or not."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj = Linear(width, 3 * width, bias=False)
        self.out_proj = Linear(width, width, bias=False)

    def split(self, x_BTW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, H, T, w) each."""
        B, T, W = x_BTW.shape
        qkv = self.in_proj(x_BTW).view(B, T, 3, self.heads, W // self.heads)
        q_BHTw, k_BHTw, v_BHTw = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q_BHTw, k_BHTw, v_BHTw

    def joined(self, mixed_BHTw: Tensor) -> Tensor:
        out: Tensor = self.out_proj(mixed_BHTw.transpose(1, 2).flatten(2))
        return out

    def forward(self, x_BTW: Tensor, causal: bool) -> Tensor:
        return self.joined(functional.scaled_dot_product_attention(*self.split(x_BTW), is_causal=causal))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = Norm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = Norm(width)
        self.c_fc = Linear(width, 4 * width, bias=False)
        self.c_proj = Linear(4 * width, width, bias=False)

    def forward(self, x_BTW: Tensor, causal: bool) -> Tensor:
        x_BTW = x_BTW + self.attn(self.ln_1(x_BTW), causal)
        return self.with_mlp(x_BTW)

    def with_mlp(self, x_BTW: Tensor) -> Tensor:
        """x + W2 q(W1 norm(x)), q(h) = h sigmoid(1.702 h).

        q(h) is silu(1.702 h) / 1.702, and silu is one kernel where q is three. The factor goes in with the norm's gain and
        out with the sum, so that it costs nothing.
        """
        hidden = functional.silu(self.c_fc(self.ln_2(x_BTW, times=STEEPNESS)))
        return torch.add(x_BTW, self.c_proj(hidden), alpha=1 / STEEPNESS)
