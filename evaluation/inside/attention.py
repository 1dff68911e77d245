"""Where a transformer over a picture attends: by hooks on its blocks, so that models need know nothing of it.

B = pictures, L = layers, H = heads, T = tokens, P = patches (T, or T - 1 with a class token first), w = width of a head.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Seer(NamedTuple):
    """What is needed to watch a transformer: its attentions in order, whether they look back only, how many pixels a token is
    wide, and the call that sends pictures through all of them."""

    attentions: Sequence[Any]
    causal: bool
    patch_pixels: int
    run: Callable[[Tensor], Any]


def seer(model: Any) -> Seer | None:
    """For a vision transformer over patches and for iGPT over pixels; None for a model without attention over pictures."""
    tower: Any = getattr(model, "visual", None)
    if getattr(tower, "transformer", None) is not None:
        return Seer([block.attn for block in tower.transformer.blocks], False, tower.tower.patch, model.image_features)
    if hasattr(model, "features_of_all_layers") and hasattr(model, "blocks"):
        return Seer(
            [block.attn for block in model.blocks], not getattr(model, "masked", False), 1, model.features_of_all_layers
        )
    return None


class Looked(NamedTuple):
    """`distances` (L, H) in pixels; `reaches` (B, side, side), greatest 1: how much of each place reaches the answer."""

    distances: NDArray[np.float64]
    reaches: NDArray[np.float64]


@torch.inference_mode()
def look(watched: Seer, pixels_B3SS: Tensor) -> Looked:
    """Distances and rollout of one batch. A layer's weights are forgotten before the next one's are made: those of all
    layers of iGPT over 1,024 places would take gigabytes."""
    distances: list[NDArray[np.float64]] = []
    through: list[Tensor] = []

    def each(_: Any, inputs: tuple[Tensor, ...], number: int) -> None:
        weights_BHTT = weights_of(watched.attentions[number], inputs[0], watched.causal)
        distances.append(mean_distances(weights_BHTT, watched.patch_pixels, watched.causal))
        through[:] = [followed(weights_BHTT, through[0] if through else None)]

    hooks = [
        attention.register_forward_pre_hook(functools.partial(each, number=number))
        for number, attention in enumerate(watched.attentions)
    ]
    try:
        watched.run(pixels_B3SS)
    finally:
        for hook in hooks:
            hook.remove()
    return Looked(np.stack(distances), reaching_the_answer(through[0], watched.causal))


def weights_of(attention: Any, x_BTW: Tensor, causal: bool) -> Tensor:
    """(B, H, T, T) float32: how much each token (row) takes from each other, by what goes into an attention; rows sum to 1."""
    B, T, W = x_BTW.shape
    qkv = attention.in_proj(x_BTW).view(B, T, 3, attention.heads, W // attention.heads)
    q_BHTw, k_BHTw, _ = qkv.permute(2, 0, 3, 1, 4).float().unbind(0)
    logits_BHTT = q_BHTw @ k_BHTw.transpose(-1, -2) / q_BHTw.shape[-1] ** 0.5
    if causal:
        ahead_TT = torch.ones(T, T, dtype=torch.bool, device=x_BTW.device).triu(1)
        logits_BHTT = logits_BHTT.masked_fill(ahead_TT, -torch.inf)
    return torch.softmax(logits_BHTT, dim=-1)


def mean_distances(weights_BHTT: Tensor, patch_pixels: int, causal: bool = False) -> NDArray[np.float64]:
    """(H,): pixels between a patch and those it attends to, weighted by attention, averaged over patches and pictures
    (arXiv:2010.11929, figure 7 right and appendix D.7). A class token counts neither as asking nor as asked, nor does the
    start vector before a causal model's first pixel, of which the last is never seen."""
    T = weights_BHTT.shape[-1]
    side = int(T**0.5)
    P = T - 1 if causal else side * side
    among_BHPP = weights_BHTT[..., -P:, -P:]
    among_BHPP = among_BHPP / among_BHPP.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    place = torch.arange(P, device=weights_BHTT.device)
    grid_P2 = torch.stack([place // side, place % side], dim=1).float() * patch_pixels
    far_PP = torch.cdist(grid_P2, grid_P2)
    return np.asarray((among_BHPP * far_PP).sum(dim=-1).mean(dim=(0, 2)).double().cpu().numpy())


def followed(weights_BHTT: Tensor, before_BTT: Tensor | None) -> Tensor:
    """(B, T, T): attention followed through one more layer (Abnar and Zuidema 2020, arXiv:2005.00928, section 3).

    Times half the heads' mean and half the identity, for the residual path; rows go on summing to 1.
    """
    mixed_BTT = 0.5 * weights_BHTT.mean(dim=1)
    mixed_BTT.diagonal(dim1=-2, dim2=-1).add_(0.5)
    return mixed_BTT if before_BTT is None else mixed_BTT @ before_BTT


def reaching_the_answer(through_BTT: Tensor, causal: bool = False) -> NDArray[np.float64]:
    """(B, side, side), greatest 1: how much of each patch reaches the class token, or the mean of all places without one.

    Before a causal model's first pixel stands its start vector, so a pixel lies one place later, and the last is never seen.
    """
    T = through_BTT.shape[-1]
    side = int(T**0.5)
    found_BP = through_BTT[:, 0, 1:] if side * side < T else through_BTT.mean(dim=1)
    if causal:
        found_BP = torch.cat([found_BP[:, 1:], torch.zeros_like(found_BP[:, :1])], dim=1)
    found_BP = found_BP / found_BP.amax(dim=1, keepdim=True).clamp_min(1e-12)
    return np.asarray(found_BP.reshape(-1, side, side).double().cpu().numpy())
