"""OptimizerConfig: the `train.optimizer` section of a recipe."""

from pydantic import Field

from pipeline.settings import Settings


class OptimizerConfig(Settings):
    """AdamW's numbers."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Adam's first moment (table 18: 0.9)."""
    beta2: float = Field(default=0.98, ge=0, lt=1)
    """Adam's second moment (table 18: 0.98 for ViT, 0.999 for ResNet)."""
    epsilon: float = Field(default=1e-6, gt=0)
    """Adam's (table 18: 1e-6 for ViT, 1e-8 for ResNet)."""
