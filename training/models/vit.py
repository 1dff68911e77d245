"""The vision transformer: CLIP's with a norm before the blocks (arXiv:2103.00020, section 2.4), and the supervised one
without (Dosovitskiy et al. 2020, arXiv:2010.11929). Which of the two, says the tower's spec.

B = pictures, P = patches, T = tokens: P + 1 with a class token, W = width.
"""

import itertools

import torch
from torch import Tensor, nn

from training.models import draws
from training.models.blocks import LayerNorm, Transformer, initialize_image_blocks
from training.models.image_encoder import ImageEncoder
from training.specs.base import Activation
from training.specs.towers import ImageTower


class ConvolutionStem(nn.Sequential):
    """Patches by small convolutions of stride 2 (Xiao et al. 2021, "Early convolutions help transformers see better",
    arXiv:2106.14881): a fifth more work, and shapes are learned from thousands of pictures in place of millions.

    Group norm in place of their batch norm: no sample's result depends on the others, nor on how ranks share them.
    """

    def __init__(self, tower: ImageTower) -> None:
        halvings = tower.patch.bit_length() - 1
        channels = [3, *(tower.width >> (halvings - 1 - step) for step in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(1, after), nn.GELU()]
        super().__init__(*layers, nn.Conv2d(tower.width, tower.width, 1, bias=tower.patch_bias))


class VisionTransformer(ImageEncoder):
    """`embedded`, then `transformer`, then `ln_post`: a head that reads all tokens, or all layers, takes them in turn."""

    def __init__(self, tower: ImageTower, activation: Activation) -> None:
        super().__init__(tower)
        if tower.stem == "patch":
            self.conv1: nn.Module = nn.Conv2d(3, tower.width, tower.patch, tower.patch, bias=tower.patch_bias)
        else:
            self.conv1 = ConvolutionStem(tower)
        self.class_embedding = nn.Parameter(torch.empty(tower.width)) if tower.class_token else None
        self.positional_embedding = nn.Parameter(torch.empty(tower.tokens, tower.width))
        self.ln_pre = LayerNorm(tower.width, tower.epsilon) if tower.first_norm else nn.Identity()
        self.transformer = Transformer(
            tower.width, tower.layers, tower.heads, activation, causal=False, hidden=tower.hidden, epsilon=tower.epsilon
        )
        self.ln_post = LayerNorm(tower.width, tower.epsilon)
        scale = tower.width**-0.5
        if self.class_embedding is not None:
            nn.init.normal_(self.class_embedding, std=scale)
        nn.init.normal_(self.positional_embedding, std=scale)
        initialize_image_blocks(self.transformer)

    def embedded(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, T, W): patches with their positions, the class token first, as the blocks take them."""
        x_BPW = self.conv1(self.normalised(pixels_B3SS)).flatten(2).transpose(1, 2)
        positions_TW = self.positional_embedding.to(x_BPW.dtype)
        x_BTW = self._some_patches(x_BPW + positions_TW[-x_BPW.shape[1] :])
        if self.class_embedding is not None:
            class_B1W = (self.class_embedding.to(x_BPW.dtype) + positions_TW[0]).expand(len(x_BTW), 1, -1)
            x_BTW = torch.cat([class_B1W, x_BTW], dim=1)
        out: Tensor = self.ln_pre(x_BTW)
        return out

    def tokens(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, T, W) after the last block and its norm."""
        out: Tensor = self.ln_post(self.transformer(self.embedded(pixels_B3SS)))
        return out

    def places(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, P, W): the patches' tokens."""
        return self.tokens(pixels_B3SS)[:, int(self.class_embedding is not None) :]

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, W): the normed class token, or the mean of the normed patches where there is none."""
        if self.class_embedding is None:
            return self.tokens(pixels_B3SS).mean(dim=1)
        # Norms act on each token alone, so norming the class token only is enough.
        out: Tensor = self.ln_post(self.transformer(self.embedded(pixels_B3SS))[:, 0])
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
