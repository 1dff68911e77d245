"""Attention in place of a class token (Zhai et al. 2021, "Scaling vision transformers", arXiv:2106.04560, section 3.2): one learned
query reads all tokens, and a residual MLP follows. The shape is big_vision's `MAPHead`.

B = pictures, T = tokens, W = width, H = heads, w = W / H.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.blocks import LayerNorm, QuickGELU
from training.models.linear import Linear
from training.specs.base import Activation


class MapHead(nn.Module):
    """y = attention(probe, tokens, tokens); y + mlp(norm(y))."""

    def __init__(self, width: int, heads: int, hidden: int, epsilon: float, activation: Activation) -> None:
        super().__init__()
        self.heads = heads
        self.probe = nn.Parameter(torch.empty(1, width))
        self.q_proj = Linear(width, width)
        self.kv_proj = Linear(width, 2 * width)
        self.out_proj = Linear(width, width)
        self.norm = LayerNorm(width, epsilon)
        self.c_fc = Linear(width, hidden)
        self.activation = QuickGELU() if activation == "quick_gelu" else nn.GELU()
        self.c_proj = Linear(hidden, width)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """(B, W)."""
        B, T, W = x_BTW.shape
        w = W // self.heads
        q_BH1w = self.q_proj(self.probe).view(1, self.heads, 1, w).expand(B, -1, -1, -1)
        k_BHTw, v_BHTw = self.kv_proj(x_BTW).view(B, T, 2, self.heads, w).permute(2, 0, 3, 1, 4).unbind(0)
        mixed_BH1w = functional.scaled_dot_product_attention(q_BH1w.to(k_BHTw.dtype), k_BHTw, v_BHTw)
        y_BW = self.out_proj(mixed_BH1w.reshape(B, W))
        out: Tensor = y_BW + self.c_proj(self.activation(self.c_fc(self.norm(y_BW))))
        return out
