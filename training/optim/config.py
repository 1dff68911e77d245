"""OptimizerConfig: the `train.optimizer` section of a recipe."""

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class LoraConfig(Settings):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): the weights of `train.start_from` stand still, small factors beside
    them learn, and in full what it did not bring and the head of classes."""

    rank: int = Field(default=0, ge=0, le=1024)
    """Width of the factors; 0 is off. The paper: 1 to 8 are enough."""
    alpha: float = Field(default=16.0, gt=0)
    """What the factors' product is multiplied with, divided by rank (section 4.1)."""
    layers: tuple[str, ...] = ("in_proj", "out_proj", "c_fc", "c_proj")
    """Last parts of the names of the linear layers that get factors."""


class OptimizerConfig(Settings):
    """The rule that turns gradients into weights, and the shares of the learning rate."""

    kind: Literal["adamw", "adafactor", "sgd", "lamb"] = "adamw"
    """adamw: CLIP, ViT, iGPT. adafactor: the variant of Scaling ViT (arXiv:2106.04560, section 3.4), a third of the state.
    sgd: ViT's fine-tuning. lamb: EVA-CLIP (arXiv:2303.15389)."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """The first moment (CLIP, table 18: 0.9); the momentum of sgd and adafactor too."""
    beta2: float = Field(default=0.98, ge=0, lt=1)
    """The second moment (table 18: 0.98 for ViT, 0.999 for ResNet). Scaling ViT's adafactor approaches 0.999 by itself."""
    epsilon: float = Field(default=1e-6, gt=0)
    """Added to the root of the second moment (table 18: 1e-6 for ViT, 1e-8 for ResNet). Not read by sgd and adafactor."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Learning rate times this for each block farther from the output (EVA-CLIP: 0.85 in pictures, 0.75 in texts)."""
    image_rate: float = Field(default=1.0, ge=0)
    """Times the learning rate, in the image tower (EVA-CLIP gives its towers rates of their own)."""
    text_rate: float = Field(default=1.0, ge=0)
    """Times the learning rate, in the text tower."""
    head_rate: float = Field(default=1.0, ge=0)
    """Times the learning rate, in the head of a classifier."""
    head_weight_decay: float | None = Field(default=None, ge=0)
    """Weight decay of a classifier's head, where it differs (Scaling ViT, section 3.2: 3.0 beside 0.03)."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Keep an average of the weights that forgets at this rate each step, and export it too; 0 is off (ViT-G: 0.9999)."""
    lora: LoraConfig = LoraConfig()
    """Fine-tuning through low-rank factors."""
