"""MemoryConfig: the `train.memory` section of a recipe: what makes a model or a batch fit, and what that costs."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings

Place = Literal["none", "cpu", "nvme"]


class MemoryConfig(Settings):
    """Where state lives and what is computed twice. None of it changes what is learned."""

    chunks: int = Field(default=1, ge=1)
    """Pieces in which a rank computes its share of the batch, one after the other: activations of one piece at a time."""
    activation_checkpointing: bool = False
    """Keep only each block's input and compute the rest again in the backward pass (Chen et al. 2016, arXiv:1604.06174)."""
    offload_optimizer: Place = "none"
    """Moments and their update on the CPU or on NVMe (ZeRO-Offload, arXiv:2101.06840); needs zero_stage 1 or more."""
    offload_parameters: Place = "none"
    """Weights on the CPU or on NVMe while they are not computed with (ZeRO-Infinity, arXiv:2104.07857); zero_stage 3."""
    nvme_path: str | None = None
    """A folder on a local disk of each node, for what `nvme` puts there; needs libaio (apt-get install libaio-dev)."""
    compile: bool = False
    """torch.compile for each block: slower to start, faster by the step on GPUs."""

    @model_validator(mode="after")
    def _nvme_has_a_folder(self) -> "MemoryConfig":
        if "nvme" in (self.offload_optimizer, self.offload_parameters) and not self.nvme_path:
            raise ValueError("offload to nvme needs memory.nvme_path: a folder on a local disk of each node")
        return self
