"""DataConfig: the `train.data` section of a recipe."""

from pydantic import Field

from pipeline.settings import Settings


class DataConfig(Settings):
    """How samples are read, cut and changed on their way to the model."""

    min_crop_side_fraction: float = Field(default=0.9, gt=0, le=1)
    """Random square crop, CLIP's only augmentation: side drawn from [this, 1] x the shorter side of the picture.

    open_clip's default area range (0.9, 1) is a side of 0.95; 1.0 moves the square along the longer side only.
    """
    max_rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    """Turn pictures by at most this much, either way. CLIP does not; a few thousand pictures are learned by heart without."""
    max_stretch: float = Field(default=0.0, ge=0, lt=1)
    """Stretch or shrink width and height, each on its own, by a factor between 1 - this and 1 + this."""
    max_brightness_change: float = Field(default=0.0, ge=0, lt=1)
    """Multiply pixels by a factor between 1 - this and 1 + this."""
    decoded_cache_mib: int = Field(default=1024, ge=0)
    """Memory per rank for decoded pictures, so that a small dataset is decoded once. Changes speed, never pixels."""
