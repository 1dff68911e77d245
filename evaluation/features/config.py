"""The `evaluate.features` section of a recipe: how features are made and kept. Nothing here changes what is measured, but for
`precision`."""

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class FeaturesConfig(Settings):
    """Pictures in, features on disk."""

    decoders: int = Field(2, ge=1)
    """Threads that read, decode and resize pictures ahead of the model. On a CPU the model's own threads do so too."""
    workers: int = Field(0, ge=0)
    """Ray workers that share the pictures of a dataset, each with a model of its own; 0 makes all in one process."""
    gpus_per_worker: float = Field(0.0, ge=0)
    """GPUs that each worker gets; on a cluster with GPUs usually 1."""
    precision: Literal["float32", "float16"] = "float32"
    """How features are kept; float16 takes half the disk (2.9 million pictures of width 768 in 4.4 GB) and moves a score by
    less than its last printed digit."""
