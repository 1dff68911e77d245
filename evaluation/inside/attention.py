"""Where a vision transformer attends: by hooks on its blocks, so that models need know nothing of it.

B = pictures, L = layers, H = heads, T = tokens, P = patches (T, or T - 1 with a class token first), w = width of a head.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def has_attention(model: Any) -> bool:
    """Whether the model's image tower is a transformer over patches."""
    return getattr(getattr(model, "visual", None), "transformer", None) is not None


@torch.inference_mode()
def attention_weights(model: Any, pixels_B3SS: Tensor) -> Tensor:
    """(L, B, H, T, T) float32: in each layer, how much each token (row) takes from each other; rows sum to 1."""
    with _inputs_of_attention(model) as seen:
        model.image_features(pixels_B3SS)
    blocks = model.visual.transformer.blocks
    return torch.stack([_weights(block.attn, x_BTW) for block, x_BTW in zip(blocks, seen, strict=True)])


@contextmanager
def _inputs_of_attention(model: Any) -> Iterator[list[Tensor]]:
    """Gathers what goes into the attention of each block, in order, while a picture goes through."""
    seen: list[Tensor] = []

    def look(_: Any, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    hooks = [block.attn.register_forward_pre_hook(look) for block in model.visual.transformer.blocks]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _weights(attention: Any, x_BTW: Tensor) -> Tensor:
    B, T, W = x_BTW.shape
    qkv = attention.in_proj(x_BTW).view(B, T, 3, attention.heads, W // attention.heads)
    q_BHTw, k_BHTw, _ = qkv.permute(2, 0, 3, 1, 4).float().unbind(0)
    return torch.softmax(q_BHTw @ k_BHTw.transpose(-1, -2) / q_BHTw.shape[-1] ** 0.5, dim=-1)


def mean_distances(weights_LBHTT: Tensor, patch_pixels: int) -> NDArray[np.float64]:
    """(L, H): pixels between a patch and those it attends to, weighted by attention, averaged over patches and pictures
    (arXiv:2010.11929, figure 7 right and appendix D.7). A class token counts neither as asking nor as asked."""
    side = int(weights_LBHTT.shape[-1] ** 0.5)
    P = side * side
    among_LBHPP = weights_LBHTT[..., -P:, -P:]
    among_LBHPP = among_LBHPP / among_LBHPP.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    place = torch.arange(P, device=weights_LBHTT.device)
    grid_P2 = torch.stack([place // side, place % side], dim=1).float() * patch_pixels
    far_PP = torch.cdist(grid_P2, grid_P2)
    return np.asarray((among_LBHPP * far_PP).sum(dim=-1).mean(dim=(1, 3)).double().cpu().numpy())


def rollout(weights_LBHTT: Tensor) -> Tensor:
    """(B, T, T): attention followed through all layers (Abnar and Zuidema 2020, arXiv:2005.00928, section 3).

    The product over the layers of half the heads' mean and half the identity, for the residual path; rows sum to 1.
    """
    T = weights_LBHTT.shape[-1]
    identity_TT = torch.eye(T, device=weights_LBHTT.device)
    through_BTT = identity_TT.expand(weights_LBHTT.shape[1], T, T)
    for layer_BHTT in weights_LBHTT:
        mixed_BTT = 0.5 * layer_BHTT.mean(dim=1) + 0.5 * identity_TT
        through_BTT = mixed_BTT @ through_BTT
    return through_BTT


def reaching_the_answer(weights_LBHTT: Tensor) -> NDArray[np.float64]:
    """(B, side, side), greatest 1: how much of each patch reaches the class token, or the mean of all patches without one."""
    through_BTT = rollout(weights_LBHTT)
    T = through_BTT.shape[-1]
    side = int(T**0.5)
    P = side * side
    found_BP = through_BTT[:, 0, 1:] if T > P else through_BTT.mean(dim=1)
    found_BP = found_BP / found_BP.amax(dim=1, keepdim=True).clamp_min(1e-12)
    return np.asarray(found_BP.reshape(-1, side, side).double().cpu().numpy())
