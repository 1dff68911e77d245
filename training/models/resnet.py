"""CLIP's residual network (Radford et al. 2021, arXiv:2103.00020, section 2.4; He et al. 2016).

Three things differ from a plain ResNet-50: the stem is three 3 x 3 convolutions and an average (ResNet-D, He et al. 2018,
arXiv:1812.01187); nothing but the stem's first convolution has a stride, pictures shrink by averages (anti-aliasing, Zhang
2019, arXiv:1904.11486); and the last grid is pooled by attention that its own mean asks for.

B = pictures, S = side, C = channels, h = side of the grid, P = h^2 places, H = heads.

Batch norm uses the statistics of what one rank sees in one forward pass, as OpenAI's training did: so the result of a step
depends on how a batch is shared over ranks and chunks, which no other tower's does. Running means are buffers: they do not
steer training; the engine averages them over the ranks after each step, and they are in every checkpoint.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.image_encoder import ImageEncoder
from training.models.linear import Linear
from training.specs.towers import ResNetTower


class BatchNorm(nn.BatchNorm2d):
    """Without torch's count of batches, which a fixed momentum never reads. In float32 whatever the precision."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.num_batches_tracked = None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any) -> None:
        """torch adds the count to state dicts that do not tell their version, and then finds that nobody wants it."""
        super()._load_from_state_dict(state_dict, prefix, {**local_metadata, "version": 2}, *rest)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


class Bottleneck(nn.Module):
    """x + (1x1, 3x3, average, 1x1): narrow in the middle, four times as wide at the end."""

    def __init__(self, before: int, inner: int, stride: int, joins: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, inner, 1, bias=False), BatchNorm(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False), BatchNorm(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, 4 * inner, 1, bias=False), BatchNorm(4 * inner)
        self.shrink = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if joins:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(before, 4 * inner, 1, bias=False), BatchNorm(4 * inner)
            )
        nn.init.zeros_(self.bn3.weight)  # each block begins as the identity: OpenAI's clip/model.py

    def forward(self, x_BChh: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x_BChh)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.shrink(out)))
        return functional.relu(out + self.shortcut(x_BChh))


class AttentionPool(nn.Module):
    """One layer of attention whose only question is the mean of the places (section 2.4).

    Its output projection is the model's `image_projection`.
    """

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(tokens, width) / width**0.5)
        self.q_proj, self.k_proj, self.v_proj = (Linear(width, width) for _ in range(3))
        for layer in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, x_BPC: Tensor) -> Tensor:
        """(B, C)."""
        B, _, C = x_BPC.shape
        x_BTC = torch.cat([x_BPC.mean(dim=1, keepdim=True), x_BPC], dim=1)
        x_BTC = x_BTC + self.positional_embedding.to(x_BTC.dtype)
        q, k, v = (
            layer(tokens).view(B, -1, self.heads, C // self.heads).transpose(1, 2)
            for layer, tokens in ((self.q_proj, x_BTC[:, :1]), (self.k_proj, x_BTC), (self.v_proj, x_BTC))
        )
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, C)


class ResNet(ImageEncoder):
    """Pixels -> stem (S/4) -> stages (S/4, S/8, S/16, S/32) -> attention pool."""

    def __init__(self, tower: ResNetTower) -> None:
        super().__init__(tower)
        half, width = tower.width // 2, tower.width
        self.conv1, self.bn1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False), BatchNorm(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1, bias=False), BatchNorm(half)
        self.conv3, self.bn3 = nn.Conv2d(half, width, 3, padding=1, bias=False), BatchNorm(width)
        self.stages = nn.ModuleList()
        before = width
        for number, blocks in enumerate(tower.blocks):
            inner = width << number
            stage = nn.Sequential()
            for block in range(blocks):
                stride = 2 if number and not block else 1
                stage.append(Bottleneck(before, inner, stride, joins=not block))
                before = 4 * inner
            self.stages.append(stage)
        self.attnpool = AttentionPool(tower.tokens, tower.features, tower.heads)

    def places(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, P, C) of the last stage."""
        x_BChh = self.normalised(pixels_B3SS)
        for convolution, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x_BChh = functional.relu(norm(convolution(x_BChh)))
        x_BChh = functional.avg_pool2d(x_BChh, 2)
        for stage in self.stages:
            x_BChh = stage(x_BChh)
        return x_BChh.flatten(2).transpose(1, 2)

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, C): what attention pooled, before its output projection."""
        out: Tensor = self.attnpool(self.places(pixels_B3SS))
        return out
