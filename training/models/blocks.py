"""The pre-norm transformer both CLIP towers are made of (Vaswani et al. 2017; norms first as in GPT-2).

B = samples, T = tokens, W = width, H = heads. Texts may come without their padding, N tokens of all (ragged.py).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.linear import Linear
from training.models.ragged import Ragged
from training.specs.base import Activation


class LayerNorm(nn.LayerNorm):
    """In float32 whatever the precision around it: bfloat16 has 8 bits for a mean over thousands of numbers."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's CLIP weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads")
        self.heads = heads
        self.causal = causal
        self.in_proj = Linear(width, 3 * width)
        self.out_proj = Linear(width, width)

    def forward(self, x: Tensor, ragged: Ragged | None = None) -> Tensor:
        """(B, T, W), or (N, W) with `ragged`, which needs causal attention: then nobody looks at what stands behind an end."""
        qkv_BTV = self.in_proj(x) if ragged is None else ragged.padded(self.in_proj(x))
        B, T, V = qkv_BTV.shape
        qkv = qkv_BTV.view(B, T, 3, self.heads, V // 3 // self.heads)
        q_BHTw, k_BHTw, v_BHTw = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q_BHTw, k_BHTw, v_BHTw, is_causal=self.causal)
        mixed_BTW = mixed.transpose(1, 2).reshape(B, T, V // 3)
        out: Tensor = self.out_proj(mixed_BTW if ragged is None else ragged.packed(mixed_BTW))
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); the MLP is `hidden` wide inside, four widths when 0."""

    def __init__(
        self, width: int, heads: int, activation: Activation, causal: bool, hidden: int = 0, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        hidden = hidden or 4 * width
        self.ln_1 = LayerNorm(width, epsilon)
        self.attn = Attention(width, heads, causal)
        self.ln_2 = LayerNorm(width, epsilon)
        self.c_fc = Linear(width, hidden)
        self.activation = QuickGELU() if activation == "quick_gelu" else nn.GELU()
        self.c_proj = Linear(hidden, width)

    def forward(self, x: Tensor, ragged: Ragged | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), ragged)
        out: Tensor = x + self.c_proj(self.activation(self.c_fc(self.ln_2(x))))
        return out


class Transformer(nn.Module):
    """`layers` blocks, one after the other."""

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        activation: Activation,
        causal: bool,
        hidden: int = 0,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, activation, causal, hidden, epsilon) for _ in range(layers))

    def forward(self, x: Tensor, ragged: Ragged | None = None) -> Tensor:
        """(B, T, W), or (N, W) with `ragged`."""
        for block in self.blocks:
            x = block(x, ragged)
        return x


def initialize_image_blocks(transformer: Transformer) -> None:
    """OpenAI's release leaves the vision tower at torch's attention defaults: Xavier projections, zero biases."""
    for block in transformer.blocks:
        assert isinstance(block, Block)
        nn.init.xavier_uniform_(block.attn.in_proj.weight)
        nn.init.zeros_(block.attn.in_proj.bias)
        nn.init.zeros_(block.attn.out_proj.bias)


def initialize_text_blocks(transformer: Transformer, width: int) -> None:
    """OpenAI's clip/model.py, initialize_parameters: residual projections shrink with depth, as in GPT-2."""
    residual_std = width**-0.5 * (2 * len(transformer.blocks)) ** -0.5
    for block in transformer.blocks:
        assert isinstance(block, Block)
        nn.init.normal_(block.attn.in_proj.weight, std=width**-0.5)
        nn.init.zeros_(block.attn.in_proj.bias)
        nn.init.normal_(block.attn.out_proj.weight, std=residual_std)
        nn.init.zeros_(block.attn.out_proj.bias)
        nn.init.normal_(block.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.c_proj.weight, std=residual_std)
