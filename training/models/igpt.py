"""iGPT: GPT-2 over the pixels of a picture (Chen et al. 2020, "Generative pretraining from pixels", section 2).

The released model's particulars, which the paper does not tell (openai/image-gpt, src/model.py): norms divide by the root mean
square and have a gain only; no projection has a bias; x sigmoid(1.702 x) in the MLP; a learned start vector stands before the
first pixel; the output matrix is its own and begins at zero; queries times keys are divided by sqrt(width of a head).

B = pictures, S = side, T = S * S pixels row by row, W = width, C = colours of the palette, K = classes, L = layers.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.models.base import Model
from training.models.igpt_block import Block, Norm
from training.models.linear import Linear
from training.models.quantise import even_palette, nearest_colours
from training.objectives.config import learned_masked
from training.specs.igpt import IgptSpec


class IGPT(Model):
    """uint8 pixels in; what each pixel may be, given those before it or those that were kept, out."""

    spec: IgptSpec
    palette: Tensor
    masked: bool = False
    """Whether it learned from masked pictures: in its features every place then looks at all of the picture, as it did there."""

    def __init__(self, spec: IgptSpec) -> None:
        super().__init__()
        self.spec = spec
        self.token_embedding = nn.Embedding(spec.colours, spec.width)
        self.positional_embedding = nn.Parameter(torch.empty(spec.tokens, spec.width))
        self.start = nn.Parameter(torch.empty(spec.width))
        self.blocks = nn.ModuleList(Block(spec.width, spec.heads) for _ in range(spec.layers))
        self.ln_final = Norm(spec.width)
        self.head = Linear(spec.width, spec.colours, bias=False)
        self.class_head = Linear(spec.width, spec.classes, bias=False) if spec.classes else None
        self.register_buffer("palette", even_palette(spec.colours))  # (C, 3) in 0..255; part of every checkpoint
        self._initialise()

    def _initialise(self) -> None:
        """src/model.py: residual projections shrink with depth in the attention only; both heads begin at zero."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.start, std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.attn.in_proj.weight, std=self.spec.width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=(self.spec.width * self.spec.layers) ** -0.5)
            nn.init.normal_(block.c_fc.weight, std=0.02)
            nn.init.normal_(block.c_proj.weight, std=0.02)
        nn.init.zeros_(self.head.weight)
        if self.class_head is not None:
            nn.init.zeros_(self.class_head.weight)

    def reset_constants(self) -> None:
        """Nothing: the palette is in the checkpoint."""

    def learned_by(self, objective: Mapping[str, Any]) -> None:
        self.masked = learned_masked(objective)

    def set_palette(self, palette_C3: Tensor) -> None:
        """Take these colours, in 0..255. Raises ValueError when they are not as many as the spec says."""
        if palette_C3.shape != self.palette.shape:
            raise ValueError(
                f"a palette of shape {tuple(palette_C3.shape)}; this model has {self.spec.colours} colours"
            )
        self.palette.copy_(palette_C3)

    def colours(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, T) int64: the palette's nearest colour of each pixel, row by row, found where the model is."""
        B, _, S, _ = pixels_B3SS.shape
        if self.spec.size != S:
            raise ValueError(f"pictures of {S} pixels a side; {self.spec.name} reads {self.spec.size}")
        return nearest_colours(pixels_B3SS.flatten(2).transpose(1, 2).reshape(-1, 3), self.palette).view(B, -1)

    def pictures(self, colours_BT: Tensor) -> Tensor:
        """(B, 3, S, S) uint8, the inverse of `colours` as far as the palette goes."""
        pixels_BT3 = self.palette[colours_BT].round().clamp(0, 255).to(torch.uint8)
        return pixels_BT3.transpose(1, 2).unflatten(2, (self.spec.size, self.spec.size)).contiguous()

    def embedded(self, colours_BT: Tensor, keep_BT: Tensor | None = None) -> Tensor:
        """(B, T, W) for the first block.

        Without `keep`, place t holds pixel t - 1, place 0 the start vector (section 2.1, autoregressive). With `keep`
        (1: kept, 0: masked) place t holds pixel t or nothing but its position (BERT); the start vector stays out.
        """
        x_BTW = self.token_embedding(colours_BT)
        if keep_BT is None:
            start_B1W = self.start.to(x_BTW.dtype).expand(len(x_BTW), 1, -1)
            x_BTW = torch.cat([start_B1W, x_BTW[:, :-1]], dim=1)
        else:
            # + 0 x start: a parameter without any gradient would make ranks wait for one another under ZeRO.
            x_BTW = x_BTW * keep_BT.to(x_BTW.dtype)[:, :, None] + 0 * self.start
        out: Tensor = x_BTW + self.positional_embedding.to(x_BTW.dtype)
        return out

    def forward(self, pixels_B3SS: Tensor, keep_BT: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of every place's colour (B, T, C), the colours (B, T), logits of the classes (B, K); float32."""
        colours_BT = self.colours(pixels_B3SS)
        x_BTW = self.embedded(colours_BT, keep_BT)
        for block in self.blocks:
            x_BTW = block(x_BTW, causal=keep_BT is None)
        logits_BTC, classes_BK = self.heads(self.ln_final(x_BTW))
        return logits_BTC, colours_BT, classes_BK

    def heads(self, x_BTW: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) and (B, K) logits in float32; classes read the mean over the places (section 2.3), K may be 0."""
        with torch.autocast(x_BTW.device.type, enabled=False):
            x_BTW = x_BTW.float()
            logits_BTC = self.head(x_BTW)
            if self.class_head is None:
                return logits_BTC, x_BTW.new_zeros(len(x_BTW), 0)
            return logits_BTC, self.class_head(x_BTW.mean(dim=1))

    def _shown(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, T, W): whole pictures for the first block, as this model learned to read them."""
        colours_BT = self.colours(pixels_B3SS)
        return self.embedded(colours_BT, torch.ones_like(colours_BT) if self.masked else None)

    def features_of_all_layers(self, pixels_B3SS: Tensor) -> Tensor:
        """(L + 1, B, W): the mean over places of each block's normed input, and of the last norm (section 2.4's f^l)."""
        x_BTW = self._shown(pixels_B3SS)
        found = []
        for block in self.blocks:
            assert isinstance(block, Block)
            found.append(block.ln_1(x_BTW).float().mean(dim=1))
            x_BTW = block(x_BTW, causal=not self.masked)
        return torch.stack([*found, self.ln_final(x_BTW).float().mean(dim=1)])

    def image_features(self, pixels_B3SS: Tensor, layer: int | None = None) -> Tensor:
        """(B, W) of one layer, 0 .. L; the middle one when not given, where probes are best (section 4.2, figure 2).

        Raises ValueError for a layer that there is not.
        """
        layer = self.spec.layers // 2 if layer is None else layer
        if not 0 <= layer <= self.spec.layers:
            raise ValueError(f"layer {layer}: {self.spec.name} has layers 0 to {self.spec.layers}")
        x_BTW = self._shown(pixels_B3SS)
        for block in self.blocks[:layer]:
            x_BTW = block(x_BTW, causal=not self.masked)
        norm = self.ln_final if layer == self.spec.layers else self.blocks[layer].ln_1
        assert isinstance(norm, Norm)
        out: Tensor = norm(x_BTW).float().mean(dim=1)
        return out
