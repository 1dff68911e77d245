"""A vision transformer that names classes (Dosovitskiy et al. 2020, arXiv:2010.11929, equations 1-4).

B = pictures, S = side, T = tokens, W = width, K = classes.
"""

import math

import torch
from torch import Tensor, nn

from training.models.base import Model
from training.models.blocks import Block, Transformer
from training.models.linear import Linear
from training.models.map_head import MapHead
from training.models.vit import VisionTransformer
from training.specs.vit import VitSpec

TWO_DEVIATIONS = 0.87962566
"""Standard deviation of a standard normal distribution that is cut off at two."""


class Classifier(Model):
    """uint8 pixels in, a logit per class out."""

    spec: VitSpec

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.spec = spec
        tower = spec.image
        self.visual = VisionTransformer(tower, spec.activation)
        self.map_head = (
            MapHead(tower.width, tower.heads, tower.hidden, tower.epsilon, spec.activation)
            if spec.pool == "attention"
            else None
        )
        self.representation = Linear(tower.width, spec.representation) if spec.representation else None
        self.head = Linear(spec.representation or tower.width, spec.classes) if spec.classes else None
        self._initialise()

    def _initialise(self) -> None:
        """As the released code (google-research/big_vision, models/vit.py): Xavier for every matrix of the blocks and the pool,
        LeCun for patches and representation (flax's default), MLP biases of 1e-6, other biases zero; class token and head zero;
        positions of deviation 1 / sqrt(W) (the tower's own)."""
        if self.visual.class_embedding is not None:
            nn.init.zeros_(self.visual.class_embedding)
        if isinstance(self.visual.conv1, nn.Conv2d):
            _lecun(self.visual.conv1.weight.flatten(1))
            if self.visual.conv1.bias is not None:  # CLIP's tower has none
                nn.init.zeros_(self.visual.conv1.bias)
        _initialise_blocks(self.visual.transformer)
        if self.map_head is not None:
            nn.init.xavier_uniform_(self.map_head.probe)
            for matrix in (self.map_head.q_proj, self.map_head.out_proj, self.map_head.c_fc, self.map_head.c_proj):
                _xavier(matrix)
            _xavier(self.map_head.kv_proj, parts=2)
            for layer in (self.map_head.c_fc, self.map_head.c_proj):
                nn.init.normal_(layer.bias, std=1e-6)
        if self.representation is not None:
            _lecun(self.representation.weight)
            nn.init.zeros_(self.representation.bias)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def reset_constants(self) -> None:
        self.visual.reset_pixel_statistics()

    def expect_one_class_in_many(self) -> None:
        """Before training with a sigmoid per class: every class begins at a chance of 1 / K, its logit near -ln K
        (-6.9 for ImageNet, -10 for ImageNet-21k, as big_vision's configs have it)."""
        assert self.head is not None
        with torch.no_grad():
            self.head.bias.fill_(-math.log(self.spec.classes))

    @property
    def patch_dropout(self) -> float:
        """Share of patches that a training step leaves out."""
        return self.visual.patch_dropout

    @patch_dropout.setter
    def patch_dropout(self, share: float) -> None:
        self.visual.patch_dropout = share

    def image_features(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, W): the normed class token, the patches' mean or what the attention pool read; what a linear probe reads."""
        if self.map_head is not None:
            pooled: Tensor = self.map_head(self.visual.tokens(pixels_B3SS))
            return pooled
        features: Tensor = self.visual(pixels_B3SS)
        return features

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, K) logits in float32; without classes, what a head would read: (B, W) or the representation's width."""
        features = self.image_features(pixels_B3SS)
        if self.representation is not None:
            features = torch.tanh(self.representation(features))
        if self.head is None:
            return features.float()
        with torch.autocast(features.device.type, enabled=False):
            out: Tensor = self.head(features.float())
        return out


def _initialise_blocks(transformer: Transformer) -> None:
    for block in transformer.blocks:
        assert isinstance(block, Block)
        _xavier(block.attn.in_proj, parts=3)
        for matrix in (block.attn.out_proj, block.c_fc, block.c_proj):
            _xavier(matrix)
        for layer in (block.c_fc, block.c_proj):
            nn.init.normal_(layer.bias, std=1e-6)


def _xavier(matrix: nn.Linear, parts: int = 1) -> None:
    """Glorot's uniform values, for each of the projections that lie in one matrix by themselves."""
    for part in matrix.weight.chunk(parts):
        nn.init.xavier_uniform_(part)
    nn.init.zeros_(matrix.bias)


def _lecun(weight_OI: Tensor) -> None:
    """A normal distribution of variance 1 / I, cut off at two deviations and made wider by as much as that takes away."""
    deviation = weight_OI.shape[1] ** -0.5 / TWO_DEVIATIONS
    nn.init.trunc_normal_(weight_OI, std=deviation, a=-2 * deviation, b=2 * deviation)
