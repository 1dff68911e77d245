"""New pictures from iGPT, pixel by pixel, and the rest of a picture from its first rows (Chen et al. 2020, figure 1).

Keys and values of the pixels so far are kept, so pixel t costs one place's products and t places' attention; the slow path, a
whole forward pass per pixel, gives the same logits (tests/training/test_igpt.py).
"""

import torch
from torch import Tensor
from torch.nn import functional

from training.data.order import step_seed
from training.models.igpt import IGPT
from training.models.igpt_block import Block


class Cache:
    """Keys and values (B, H, T, w) of every block for the places that were read."""

    def __init__(self, model: IGPT, rows: int) -> None:
        spec = model.spec
        shape = (spec.layers, 2, rows, spec.heads, spec.tokens, spec.width // spec.heads)
        self.kept = torch.zeros(shape, device=model.start.device, dtype=model.start.dtype)
        self.length = 0

    def attend(self, layer: int, block: Block, x_BnW: Tensor) -> Tensor:
        """What the attention of `block` gives for n new places that follow those kept; keeps them too."""
        q_BHnw, k_BHnw, v_BHnw = block.attn.split(x_BnW)
        first, end = self.length, self.length + x_BnW.shape[1]
        keys_BHTw, values_BHTw = self.kept[layer]
        keys_BHTw[:, :, first:end], values_BHTw[:, :, first:end] = k_BHnw, v_BHnw
        seen_nt = torch.ones(end - first, end, dtype=torch.bool, device=x_BnW.device).tril(first)
        return block.attn.joined(
            functional.scaled_dot_product_attention(
                q_BHnw, keys_BHTw[:, :, :end], values_BHTw[:, :, :end], attn_mask=None if first + 1 == end else seen_nt
            )
        )


@torch.no_grad()
def next_logits(model: IGPT, cache: Cache, colours_Bn: Tensor) -> Tensor:
    """(B, C): what the pixel after `colours` may be; n new pixels that follow those in the cache (n may be 0 at the start)."""
    x_BnW = model.token_embedding(colours_Bn)
    if cache.length == 0:
        x_BnW = torch.cat([model.start.expand(len(x_BnW), 1, -1), x_BnW], dim=1)
    x_BnW = x_BnW + model.positional_embedding[cache.length : cache.length + x_BnW.shape[1]]
    for layer, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        x_BnW = block.with_mlp(x_BnW + cache.attend(layer, block, block.ln_1(x_BnW)))
    cache.length += x_BnW.shape[1]
    logits_BnC, _ = model.heads(model.ln_final(x_BnW[:, -1:]))
    return logits_BnC[:, 0]


def sample(model: IGPT, known_Bn: Tensor, temperature: float = 1.0, top_k: int = 0, seed: int = 0) -> Tensor:
    """(B, T) colours that begin with `known`, n from 0 to T pixels of B pictures.

    Temperature 0 takes the likeliest; `top_k` > 0 draws among so many. Draws are a function of (seed, row, place).
    Raises ValueError for a temperature or top_k below 0.
    """
    if temperature < 0 or top_k < 0:
        raise ValueError(f"temperature {temperature:g}, top_k {top_k}: neither may be below 0")
    B, n = known_Bn.shape
    T = model.spec.tokens
    draws_BT = place_draws(seed, B, T)
    out_BT = torch.empty(B, T, dtype=torch.long, device=known_Bn.device)
    out_BT[:, :n] = known_Bn
    if n == T:
        return out_BT
    cache = Cache(model, B)
    new_Bn = known_Bn
    for place in range(n, T):
        logits_BC = next_logits(model, cache, new_Bn)
        new_Bn = chosen(logits_BC, temperature, top_k, draws_BT[:, place])[:, None].to(out_BT.device)
        out_BT[:, place : place + 1] = new_Bn
    return out_BT


def place_draws(seed: int, rows: int, places: int) -> Tensor:
    """(rows, places) float64 in [0, 1); row r is the same however many rows there are."""
    drawn = []
    for row in range(rows):
        generator = torch.Generator().manual_seed(step_seed(seed, row, 0))
        drawn.append(torch.rand(places, generator=generator, dtype=torch.float64))
    return torch.stack(drawn) if drawn else torch.empty(0, places, dtype=torch.float64)


def chosen(logits_BC: Tensor, temperature: float, top_k: int, draws_B: Tensor) -> Tensor:
    """(B,) colours on the CPU: the draw's place in the cumulated chances, likeliest first, in float64."""
    ordered_BC, order_BC = logits_BC.double().cpu().sort(dim=1, descending=True, stable=True)
    if temperature == 0:
        return order_BC[:, 0]
    if top_k:
        ordered_BC = ordered_BC[:, :top_k]
    upto_BC = (ordered_BC / temperature).softmax(dim=1).cumsum(dim=1)
    which_B1 = torch.searchsorted(upto_BC, (draws_B[:, None] * upto_BC[:, -1:]), right=True)
    return order_BC.gather(1, which_B1.clamp(max=ordered_BC.shape[1] - 1))[:, 0]


def complete(
    model: IGPT, pixels_B3SS: Tensor, rows: int, temperature: float = 1.0, top_k: int = 0, seed: int = 0
) -> Tensor:
    """(B, 3, S, S) uint8: pictures whose first `rows` rows are given and whose others the model draws.

    All pixels are of the palette, the given ones too. Raises ValueError for more rows than the model reads.
    """
    S = model.spec.size
    if not 0 <= rows <= S:
        raise ValueError(f"{rows} rows of pictures that have {S}")
    known_Bn = model.colours(pixels_B3SS)[:, : rows * S]
    return model.pictures(sample(model, known_Bn, temperature, top_k, seed))
