"""CLIP's image tower: a vision transformer with a norm before the blocks (arXiv:2103.00020, section 2.4).

B = pictures, P = patches, T = P + 1 tokens, W = width.
"""

import itertools

import torch
from torch import Tensor, nn

from training.models import draws
from training.models.blocks import LayerNorm, Transformer, initialize_image_blocks
from training.specs.base import Activation
from training.specs.clip import PIXEL_MEAN, PIXEL_STD, ImageTower


class ConvolutionStem(nn.Sequential):
    """Patches by small convolutions of stride 2 (Xiao et al. 2021, "Early convolutions help transformers see better",
    arXiv:2106.14881): a fifth more work, and shapes are learned from thousands of pictures in place of millions.

    Group norm in place of their batch norm: no sample's result depends on the others, nor on how ranks share them.
    """

    def __init__(self, tower: ImageTower) -> None:
        halvings = tower.patch.bit_length() - 1
        if 2**halvings != tower.patch:
            raise ValueError(
                f"a convolution stem halves the picture; patches of {tower.patch} pixels are no power of two"
            )
        channels = [3, *(tower.width >> (halvings - 1 - step) for step in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(1, after), nn.GELU()]
        super().__init__(*layers, nn.Conv2d(tower.width, tower.width, 1, bias=False))


class VisionTransformer(nn.Module):
    """uint8 pixels in, the normed class token out."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, tower: ImageTower, activation: Activation) -> None:
        super().__init__()
        if tower.size % tower.patch:
            raise ValueError(f"patches of {tower.patch} pixels do not divide pictures of {tower.size}")
        self.patch = tower.patch
        if tower.stem == "patch":
            self.conv1: nn.Module = nn.Conv2d(3, tower.width, tower.patch, stride=tower.patch, bias=False)
        else:
            self.conv1 = ConvolutionStem(tower)
        self.class_embedding = nn.Parameter(torch.empty(tower.width))
        self.positional_embedding = nn.Parameter(torch.empty(tower.tokens, tower.width))
        self.ln_pre = LayerNorm(tower.width)
        self.transformer = Transformer(tower.width, tower.layers, tower.heads, activation, causal=False)
        self.ln_post = LayerNorm(tower.width)
        self.reset_pixel_statistics()
        self.patch_dropout = 0.0
        scale = tower.width**-0.5
        nn.init.normal_(self.class_embedding, std=scale)
        nn.init.normal_(self.positional_embedding, std=scale)
        initialize_image_blocks(self.transformer)

    def reset_pixel_statistics(self) -> None:
        """Constants, so in no checkpoint; to be called again on a model that was built on the meta device."""
        mean, std = torch.tensor(PIXEL_MEAN) * 255, torch.tensor(PIXEL_STD) * 255
        self.register_buffer("pixel_mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", std.view(3, 1, 1), persistent=False)

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        """Features (B, W) of pictures in uint8, 0-255. Pixels travel as bytes and are normalised here."""
        if pixels_B3SS.dtype != torch.uint8:
            raise TypeError(f"pixels are {pixels_B3SS.dtype}; this tower takes uint8 and normalises them itself")
        image = (pixels_B3SS.float() - self.pixel_mean) / self.pixel_std
        x_BPW = self.conv1(image).flatten(2).transpose(1, 2)
        positions_TW = self.positional_embedding.to(x_BPW.dtype)
        class_B1W = (self.class_embedding.to(x_BPW.dtype) + positions_TW[0]).expand(x_BPW.shape[0], 1, -1)
        x_BPW = self._some_patches(x_BPW + positions_TW[1:])
        x_BTW = self.transformer(self.ln_pre(torch.cat([class_B1W, x_BPW], dim=1)))
        out: Tensor = self.ln_post(x_BTW[:, 0])
        return out

    def _some_patches(self, x_BPW: Tensor) -> Tensor:
        """While training, a random share 1 - patch_dropout of each picture's patches (FLIP, arXiv:2212.00794): less work,
        and less to learn by heart. Which ones is each row's own draw (training/models/draws.py).
        """
        if not self.training or self.patch_dropout == 0:
            return x_BPW
        B, P, _ = x_BPW.shape
        kept = max(1, round(P * (1 - self.patch_dropout)))
        which_BK = draws.uniform(B, P, x_BPW.device, draws.PATCHES).argsort(dim=1)[:, :kept]
        return x_BPW[torch.arange(B, device=x_BPW.device)[:, None], which_BK]
