"""CLIP: two towers, two linear projections, one learned temperature (Radford et al. 2021, arXiv:2103.00020, figure 3).

B = pairs, S = picture side in pixels, T = tokens, W = width of a tower, D = width of the shared space.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.linear import Linear
from training.models.tower_model import TowerModel
from training.models.towers import image_tower, text_tower
from training.specs.clip import ClipSpec
from training.specs.towers import ResNetTower

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # section 2.5
MAX_LOGIT_SCALE = math.log(100.0)  # section 2.5: logits are never scaled by more than 100
INITIAL_LOGIT_SCALE_WITH_BIAS = math.log(10.0)  # SigLIP, arXiv:2303.15343, section 3.2
INITIAL_LOGIT_BIAS = -10.0  # the same: nearly all pairs of a batch do not belong together


class CLIP(TowerModel):
    """Scores a picture and a text by the cosine of their embeddings, times exp(logit_scale), plus logit_bias if any."""

    spec: ClipSpec

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__()
        self.spec = spec
        self.visual = image_tower(spec.image, spec.activation)
        self.text = text_tower(spec.text, spec.activation)
        # Behind a residual network this is the output projection of its attention pool, and has a bias as such.
        self.image_projection = Linear(spec.image.features, spec.embedding, bias=isinstance(spec.image, ResNetTower))
        self.text_projection = Linear(spec.text.width, spec.embedding, bias=False)
        # Shape (1,), not (): DeepSpeed cannot broadcast a 0-dimensional parameter over gloo.
        start = INITIAL_LOGIT_SCALE_WITH_BIAS if spec.logit_bias else INITIAL_LOGIT_SCALE
        self.logit_scale = nn.Parameter(torch.full((1,), start))
        self.logit_bias = nn.Parameter(torch.full((1,), INITIAL_LOGIT_BIAS)) if spec.logit_bias else None
        nn.init.normal_(self.image_projection.weight, std=spec.image.features**-0.5)
        nn.init.normal_(self.text_projection.weight, std=spec.text.width**-0.5)

    def image_features(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, W) before the projection, from uint8 pixels: what a linear probe reads (section 3.2)."""
        features: Tensor = self.visual(pixels_B3SS)
        return features

    def encode_image(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, D) in the shared space, not yet of unit length."""
        out: Tensor = self.image_projection(self.visual(pixels_B3SS))
        return out

    def encode_text(self, tokens_BT: Tensor) -> Tensor:
        """(B, D) in the shared space, not yet of unit length."""
        out: Tensor = self.text_projection(self.text(tokens_BT))
        return out

    def forward(self, pixels_B3SS: Tensor, tokens_BT: Tensor) -> tuple[Tensor, ...]:
        """Unit embeddings of pictures and texts (B, D) in float32, the scale of their cosines (1,), and with
        `spec.logit_bias` what is added to the scaled cosines (1,)."""
        image_BD = functional.normalize(self.encode_image(pixels_B3SS).float(), dim=-1)
        text_BD = functional.normalize(self.encode_text(tokens_BT).float(), dim=-1)
        scale = self.logit_scale.float().exp()
        if self.logit_bias is None:
            return image_BD, text_BD, scale
        return image_BD, text_BD, scale, self.logit_bias.float()
